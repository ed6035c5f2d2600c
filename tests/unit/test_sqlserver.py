"""Events of SQL Server, recorded from its connector (`tests/stack/test_sqlserver.py`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.contract import Column, Contracts, Table
from tests.unit.events import Lake, message

_FOLDER = Path(__file__).with_name("sqlserver")
AS_CONFIGURED = _FOLDER / "as_configured.tsv"
BY_DEFAULT = _FOLDER / "by_default_with_schemas.tsv"

SALE = Table(
    name="Sale",
    server="erp",
    namespace="shop.dbo",
    connector="sqlserver",
    key=("SaleId",),
    columns=tuple(
        Column(name=name, type=data_type)
        for name, data_type in {
            "SaleId": "bigint", "Amount": "decimal(19,4)", "Rate": "decimal(18,6)",
            "Weight": "double", "Pieces": "smallint", "IsPaid": "boolean", "Note": "varchar",
            "SoldAt": "timestamp", "BookedAt": "timestamp", "SentAt": "timestamp",
            "DueOn": "date", "Hour": "varchar", "RowGuid": "varchar", "Version": "varchar",
            "Big": "varchar",
        }.items()
    ),
    file="sale.yml",
)  # fmt: skip
EMPTY = dict.fromkeys([column.name for column in SALE.columns][1:])


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path, Contracts([SALE]))


def lines(recorded: Path) -> Iterator[bytes]:
    for offset, line in enumerate(recorded.read_text().splitlines()):
        key, payload = line.split("\t")
        yield message(offset, payload, key=key, topic=SALE.topic)


def landed(lake: Lake, recorded: Path) -> list[dict[str, Any]]:
    report = lake.deliver(*lines(recorded), topic=SALE.topic)
    assert report.dead == 0, lake.letters()
    return lake.rows(SALE.topic)


@pytest.mark.parametrize("recorded", [AS_CONFIGURED, BY_DEFAULT])
def test_values_land_exactly(lake: Lake, recorded: Path) -> None:
    first, second, changed, empty, gone = landed(lake, recorded)
    names = [column.name for column in SALE.columns]
    whole = {name: first[name] for name in names}
    hour = "10:11:12.5Z" if recorded == AS_CONFIGURED else "36672500000000"
    assert whole == {
        "SaleId": 1, "Amount": Decimal("922337203685477.5807"), "Rate": Decimal("0.123456"),
        "Weight": 1.5, "Pieces": 200, "IsPaid": True, "Note": "one",
        "SoldAt": datetime(2024, 2, 29, 23, 59, 59, 123456, UTC),
        "BookedAt": datetime(2024, 2, 29, 12, 0, 0, 997000, UTC),
        "SentAt": datetime(2024, 2, 29, 22, 0, 0, 500000, UTC),
        "DueOn": date(2024, 2, 29), "Hour": hour,
        "RowGuid": "6F9619FF-8B86-D011-B42D-00C04FC964FF", "Version": "AAAAAAAAB9E=",
        "Big": 'ünï "quoted"\nline',
    }  # fmt: skip
    # SQL Server's times have seven digits: the last one has no place in a timestamp.
    assert "1234567" in json.loads(first["_extra"])["SoldAt"]
    assert second["Amount"] == Decimal("-0.0001")
    assert (changed["_op"], changed["Amount"]) == ("u", Decimal("10.5"))
    assert {name: empty[name] for name in EMPTY} == EMPTY
    assert (gone["_op"], gone["SaleId"]) == ("d", 2)


@pytest.mark.parametrize("recorded", [AS_CONFIGURED, BY_DEFAULT])
def test_positions_sort_as_the_log_does(lake: Lake, recorded: Path) -> None:
    positions = [row["_source_position"] for row in landed(lake, recorded)]
    assert len(positions) == 5
    assert positions == sorted(set(positions))


def test_another_order_of_delivery_gives_the_same_rows(lake: Lake, tmp_path: Path) -> None:
    turned = Lake(tmp_path / "turned", Contracts([SALE]))
    turned.deliver(*reversed(list(lines(AS_CONFIGURED))), topic=SALE.topic)
    kept = [
        [{k: v for k, v in row.items() if k not in ("_batch_id", "_landed_at")} for row in rows]
        for rows in (landed(lake, AS_CONFIGURED), turned.rows(SALE.topic))
    ]
    assert kept[0] == kept[1]
