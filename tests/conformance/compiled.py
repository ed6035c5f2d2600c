"""The staging SQL as dbt runs it, taken down once, and played again on any rows within a process.

dbt itself takes a second a run; the statements alone take milliseconds. Nothing of them is changed
but where the raw rows lie, which run it is, and, in a first build, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner

from pipelines.contract import load_contracts
from pipelines.lake.tables import raw_schema
from pipelines.retention import events_sql
from tests.conformance.platform import Platform, Row
from tests.conformance.reference import Change
from tests.conformance.scenario import Scenario
from tests.embedded.dbt_helpers import environment

_LEDGER = pa.schema(
    [
        ("table_name", pa.string()),
        ("batch_id", pa.string()),
        ("landed", pa.int64()),
        ("truncate", pa.int64()),
    ]
)
START, MODELS = "on-run-start", ("hist", "base", "dim")


class Compiled:
    """Statements by build (`first`, `increment`) and part (the start of a run, or a model)."""

    def __init__(self, folder: Path, scenario: Scenario) -> None:
        self.scenario = scenario
        self._platform = Platform(folder, [scenario])
        self.statements: dict[str, dict[str, list[str]]] = {}
        first, second = scenario.batches("told")
        for build, batch in (("first", first), ("increment", second)):
            self._platform.land({scenario: batch})
            self.statements[build] = self._take_down()
        (self.table,) = load_contracts(self._platform.project).tables
        self.schema = raw_schema(self.table)

    def _take_down(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        settings = self._platform.settings
        places = {
            f"delta_scan('{settings.raw / self.scenario.topic}')": "raw.thing",
            f"delta_scan('{settings.raw / '_ledger'}')": "raw.ledger",
        }

        def listen(event: Any) -> None:
            if event.info.name != "SQLQuery":
                return
            node = event.data.node_info.node_name
            part = START if START in node else node.split("_")[0]
            if part in (START, *MODELS):
                sql = event.data.sql.replace(event.info.invocation_id, "{run}")
                # A temporary table is named by the time of its run.
                sql = re.sub(r"__dbt_tmp\d+", "__dbt_tmp{run}", sql)
                for place, name in places.items():
                    sql = sql.replace(place, name)
                found.setdefault(part, []).append(sql)

        arguments = ["run", "--threads=1", "--quiet", f"--project-dir={self._platform.project}",
                     f"--profiles-dir={self._platform.project}"]  # fmt: skip
        with environment(LAKEHOUSE_HOME=str(settings.home), DBT_SEND_ANONYMOUS_USAGE_STATS="false"):
            try:
                result = dbtRunner(callbacks=[listen]).invoke(arguments)
            finally:
                DuckDBConnectionManager.close_all_connections()
        assert result.success
        return found


class Warehouse:
    """A work file in memory, staged with compiled statements."""

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._runs = self._batches = 0
        self._is_built: set[str] = set()
        self.connection = duckdb.connect(config={"threads": "1"})
        self.connection.execute("set TimeZone = 'UTC'; attach ':memory:' as warehouse")
        self.connection.execute("use warehouse; create schema raw")
        for name, schema in (("thing", compiled.schema), ("ledger", _LEDGER)):
            self.connection.register("given", schema.empty_table())
            self.connection.execute(f"create table raw.{name} as from given")

    def land(self, changes: Iterable[Change]) -> None:
        """One batch of raw rows, with its line in the ledger."""
        self._batches += 1
        batch_id = f"b{self._batches:06d}"
        rows = [self._raw_row(change, batch_id) for change in changes]
        self._insert("thing", pa.Table.from_pylist(rows, self._compiled.schema))
        line = {"table_name": self._compiled.scenario.topic, "batch_id": batch_id}
        line |= {"landed": len(rows), "truncate": 0}
        self._insert("ledger", pa.Table.from_pylist([line], _LEDGER))

    def _insert(self, name: str, rows: pa.Table) -> None:
        self.connection.register("given", rows)
        self.connection.execute(f"insert into raw.{name} by name from given")
        self.connection.unregister("given")

    def _raw_row(self, change: Change, batch_id: str) -> Row:
        epoch, *position, rank = change.order
        key = dict(zip(self._compiled.scenario.key, change.key or (), strict=False))
        return key | change.values | {
            "_op": change.op,
            "_source_ts_us": change.at,
            "_source_ts": change.at,
            "_epoch": epoch,
            "_source_position": ".".join(f"{int(number):020d}" for number in position),
            "_source_rank": rank,
            "_snapshot": "last" if change.ends_snapshot else "false",
            "_partition": 0,
            "_offset": change.offset,
            "_batch_id": batch_id,
            "_unavailable": sorted(change.unavailable),
            "_topic": self._compiled.scenario.topic,
            "_former_key": change.former_key and [str(part) for part in change.former_key],
        }  # fmt: skip

    def stage(self, crash_in: str | None = None) -> None:
        """One dbt run; a crash undoes the model that it meets, and those after it do not run."""
        self._runs += 1
        for part in (START, *MODELS):
            build = "increment" if part in self._is_built else "first"
            for sql in self._compiled.statements[build][part]:
                if sql == "COMMIT" and part == crash_in:
                    self.connection.execute("rollback")
                    return
                self.connection.execute(sql.replace("{run}", f"run{self._runs}"))
            if part != START:
                self._is_built.add(part)

    def rebuilt(self) -> Warehouse:
        """The same raw rows, staged at once: what a full refresh gives."""
        return self._rebuilt_from("from raw.thing")

    def retired(self, horizon: datetime) -> Warehouse:
        """The raw rows that retention leaves, staged at once."""
        self.connection.execute(
            """create or replace temp view raw_row as from raw.thing;
            create or replace temp view counted_batch as select batch_id from raw.ledger"""
        )
        events = events_sql(self._compiled.table, horizon)
        return self._rebuilt_from(
            f"select * exclude (is_retired) from ({events}) where not is_retired"
        )

    def _rebuilt_from(self, rows: str) -> Warehouse:
        other = Warehouse(self._compiled)
        for name, sql in (("thing", rows), ("ledger", "from raw.ledger")):
            other._insert(name, self.connection.execute(sql).to_arrow_table())
        other.stage()
        return other

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql).fetchall()
