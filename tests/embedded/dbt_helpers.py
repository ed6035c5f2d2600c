"""Small raw tables made by hand, and dbt run on them in process: what the dbt tests stand on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import yaml
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner
from deltalake import DeltaTable, write_deltalake

from pipelines.lake.inference import create_inference_tables

PROJECT = Path(__file__).parents[2] / "dbt_project"
CONTRACT = PROJECT / "models" / "staging" / "shop" / "_shop__sources.yml"

_ARROW = {
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "varchar": pa.string(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "decimal(18,2)": pa.decimal128(18, 2),
    "decimal(18,4)": pa.decimal128(18, 4),
}
_TECHNICAL = [
    pa.field("_op", pa.string()),
    pa.field("_source_ts", pa.timestamp("us", tz="UTC")),
    pa.field("_source_ts_us", pa.int64()),
    pa.field("_epoch", pa.int32()),
    pa.field("_source_position", pa.string()),
    pa.field("_source_rank", pa.int32()),
    pa.field("_snapshot", pa.string()),
    pa.field("_topic", pa.string()),
    pa.field("_partition", pa.int32()),
    pa.field("_offset", pa.int64()),
    pa.field("_batch_id", pa.string()),
    pa.field("_schema_version", pa.string()),
    pa.field("_landed_at", pa.timestamp("us", tz="UTC")),
    pa.field("_unavailable", pa.list_(pa.string())),
    pa.field("_extra", pa.string()),
    pa.field("year", pa.int32()),
    pa.field("month", pa.int32()),
]
_LEDGER = pa.schema(
    [
        pa.field("batch_id", pa.string()),
        pa.field("table_name", pa.string()),
        pa.field("topic", pa.string()),
        pa.field("partition", pa.int32()),
        pa.field("first_offset", pa.int64()),
        pa.field("last_offset", pa.int64()),
        pa.field("landed", pa.int64()),
        pa.field("truncate", pa.int64()),
        pa.field("dead", pa.int64()),
        pa.field("tombstone", pa.int64()),
        pa.field("committed_at", pa.timestamp("us", tz="UTC")),
    ]
)


@dataclass(frozen=True)
class Event:
    """One delivered message: `position` orders the changes of a key, `offset` the deliveries."""

    table: str
    op: str
    position: int
    at: datetime
    offset: int
    values: dict[str, Any] = field(default_factory=dict)
    partition: int = 0


@dataclass(frozen=True)
class Table:
    """A source table as the contract has it."""

    name: str
    key: list[str]
    schema: pa.Schema

    @property
    def full_name(self) -> str:
        return f"shop.public.{self.name}"


def contract() -> dict[str, Table]:
    """Read the source tables from the contract."""
    source = yaml.safe_load(CONTRACT.read_text())["sources"][0]
    tables = {}
    for table in source["tables"]:
        fields = [
            pa.field(column["name"], _ARROW[column["data_type"]])
            for column in table["columns"]
            if column.get("config", {}).get("meta", {}).get("pii") != "drop"
        ]
        tables[table["name"]] = Table(
            name=table["name"],
            key=table["config"]["meta"]["key"],
            schema=pa.schema(fields + _TECHNICAL),
        )
    return tables


def _raw_row(event: Event, schema: pa.Schema, batch_id: str) -> dict[str, Any]:
    technical = {
        "_op": event.op,
        "_source_ts": event.at,
        "_source_ts_us": int(event.at.timestamp() * 1_000_000),
        "_epoch": 0,
        "_source_position": f"{event.position:020d}",
        "_source_rank": 0 if event.op == "r" else 1,
        "_snapshot": "true" if event.op == "r" else "false",
        "_topic": f"shop.public.{event.table}",
        "_partition": event.partition,
        "_offset": event.offset,
        "_batch_id": batch_id,
        "_schema_version": "1",
        "_landed_at": datetime(2020, 1, 1, tzinfo=UTC),
        "_unavailable": [],
        "_extra": None,
        "year": event.at.year,
        "month": event.at.month,
    }
    unknown = set(event.values) - set(schema.names)
    assert not unknown, f"no such columns: {unknown}"
    return dict.fromkeys(schema.names) | event.values | technical


class FakeLake:
    """Raw Delta tables with a ledger, as the lander leaves them, and a work file beside them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.tables = contract()
        (home / "raw").mkdir(parents=True)
        for table in self.tables.values():
            DeltaTable.create(
                str(self._path(table.full_name)),
                schema=table.schema,
                partition_by=["year", "month"],
            )
        DeltaTable.create(str(self._path("_ledger")), schema=_LEDGER)
        create_inference_tables(self.home / "raw")

    def _path(self, name: str) -> Path:
        return self.home / "raw" / name

    def land(self, batch_id: str, events: Sequence[Event], *, ledger: bool = True) -> None:
        """Append a batch; without `ledger`, leave it as a crash before the last commit does."""
        for name, table in self.tables.items():
            rows = [_raw_row(e, table.schema, batch_id) for e in events if e.table == name]
            if rows:
                write_deltalake(
                    str(self._path(table.full_name)),
                    pa.Table.from_pylist(rows, schema=table.schema),
                    mode="append",
                )
        if ledger:
            self.commit(batch_id, {e.table for e in events})

    def commit(self, batch_id: str, names: set[str]) -> None:
        """Write the ledger's rows of a batch: from here on it may be staged."""
        rows = [
            {"batch_id": batch_id, "table_name": f"shop.public.{name}", "partition": 0}
            for name in sorted(names)
        ]
        write_deltalake(
            str(self._path("_ledger")), pa.Table.from_pylist(rows, schema=_LEDGER), mode="append"
        )

    def dbt(self, *arguments: str) -> None:
        """Run dbt in process on this lake; fails the test when dbt fails."""
        with environment(LAKEHOUSE_HOME=str(self.home), DBT_SEND_ANONYMOUS_USAGE_STATS="false"):
            try:
                result = dbtRunner().invoke(
                    [
                        *arguments,
                        f"--project-dir={PROJECT}",
                        f"--profiles-dir={PROJECT}",
                        f"--target-path={self.home / 'target'}",
                        f"--log-path={self.home / 'logs'}",
                        "--quiet",
                    ]
                )
            finally:
                DuckDBConnectionManager.close_all_connections()
        assert result.success, f"dbt {' '.join(arguments)} failed: {result.exception}"

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Read the work file, as it is between two runs."""
        with duckdb.connect(str(self.home / "warehouse.duckdb"), read_only=True) as conn:
            conn.execute("set TimeZone = 'UTC'")
            return conn.execute(sql).fetchall()


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set environment variables for the length of a block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
