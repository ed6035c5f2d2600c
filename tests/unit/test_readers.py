"""The readers of the embedded mode read the same from a raw table, row for row."""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from pipelines.lake.duck import load_delta
from pipelines.lake.tables import raw_schema, read
from tests.unit.events import THING, TOPIC, WHOLE, Lake, thing

SCHEMA = raw_schema(THING)


def by_duckdb(path: str) -> pa.Table:
    with duckdb.connect() as connection:
        load_delta(connection)
        connection.execute("set TimeZone = 'UTC'")
        names = ", ".join(f'"{name}"' for name in SCHEMA.names)
        return connection.execute(
            f"select {names} from delta_scan(?)", [path]
        ).to_arrow_table().cast(SCHEMA)  # fmt: skip


def by_arrow(path: str) -> pa.Table:
    return DeltaTable(path).to_pyarrow_table().select(SCHEMA.names).cast(SCHEMA)


def by_datafusion(path: str) -> pa.Table:
    return read(DeltaTable(path), SCHEMA)


def by_polars(path: str) -> pa.Table:
    return pl.read_delta(path).select(SCHEMA.names).to_arrow().cast(SCHEMA)


@pytest.fixture
def path(typed: Lake) -> str:
    """A raw table of several files with extremes, empty values and every type."""
    extremes = [
        {"count": 2**31 - 1, "price": "9999999999999999.99", "day": "9999-12-31", "ratio": 1e308},
        {"count": -(2**31), "price": "-0.01", "day": "0001-01-01", "ratio": -0.0, "is_on": False},
        dict.fromkeys([name for name in WHOLE if name != "id"]),
        {"label": "", "at": "1969-12-31T23:59:59.999999Z"},
        {"label": "naïve 🦆 \\ \" '", "ratio": 5e-324},
    ]
    for number in range(0, len(extremes), 2):
        lines = [
            thing(number + n, **(WHOLE | {"id": number + n} | values))
            for n, values in enumerate(extremes[number : number + 2])
        ]
        assert typed.deliver(*lines, name=f"{number}.jsonl").landed == len(lines)
    return str(typed.raw / TOPIC)


@pytest.mark.parametrize("reader", [by_arrow, by_datafusion, by_polars])
def test_every_reader_reads_the_same(path: str, reader: Callable[[str], pa.Table]) -> None:
    expected, found = (by(path).sort_by("_offset") for by in (by_duckdb, reader))
    assert expected.num_rows == 5
    assert found.to_pylist() == expected.to_pylist()
