"""The demo shop's messages, replayed one by one by the plain reference: the platform's oracle."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from pipelines.contract import Table, load_contracts
from tests.conformance.reference import Change, Reference
from tests.embedded.conftest import REPOSITORY, Lakehouse

TABLES = load_contracts(REPOSITORY / "dbt_project").tables
VALUE_OF: dict[str, Callable[[Any], Any]] = {
    "date": lambda text: date.fromisoformat(text.removesuffix("Z")),
    "timestamp": datetime.fromisoformat,
    "decimal": Decimal,
}


def messages(folder: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(folder.iterdir()):
        with pa.input_stream(file, compression="zstd") as stream:
            yield from map(json.loads, io.BufferedReader(stream))


def changes(table: Table, inbox: Path) -> Iterator[Change]:
    value_of = {
        column.name: VALUE_OF.get(column.type.split("(")[0], lambda value: value)
        for column in table.columns
        if column.pii is None
    }
    for message in messages(inbox / table.topic):
        if message["payload"] is None:
            continue
        event = json.loads(message["payload"])
        source, row = event["source"], event["before" if event["op"] == "d" else "after"]
        last_commit, lsn = (int(part or 0) for part in json.loads(source["sequence"]))
        is_streamed = source["snapshot"] == "false"
        yield Change(
            op=event["op"],
            key=tuple(row[name] for name in table.key),
            order=(last_commit, is_streamed, lsn, {"r": 0, "d": 1}.get(event["op"], 2)),
            at=source["ts_us"],
            offset=message["offset"],
            values={
                name: None if row.get(name) is None else of(row[name])
                for name, of in value_of.items()
            },
        )


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_state_is_what_a_plain_replay_finds(demo: Lakehouse, table: Table) -> None:
    reference = Reference()
    reference.stage(changes(table, demo.home / "inbox"))
    expected = reference.current()
    columns = list(next(iter(expected.values())))
    with duckdb.connect(str(demo.home / "warehouse.duckdb"), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        names = ", ".join(f'"{name}"' for name in columns)
        key = ", ".join(f'"{name}"' for name in table.key)
        rows = connection.execute(
            f"select {names} from staging.base_{table.name} where not _is_deleted"
        ).fetchall()
        log = connection.execute(
            f"select _op, {key} from staging.hist_{table.name} order by _order_key"
        ).fetchall()
    assert len(rows) == len(expected)
    assert set(rows) == {tuple(row.values()) for row in expected.values()}

    found: defaultdict[tuple[str, ...], str] = defaultdict(str)
    told: defaultdict[tuple[str, ...], str] = defaultdict(str)
    for op, *parts in log:
        found[tuple(map(str, parts))] += op
    for change in reference.history():
        assert change.key is not None
        told[tuple(str(part).removesuffix("Z") for part in change.key)] += change.op
    assert found == told
    assert len(log) == len(reference.history()) > 0
