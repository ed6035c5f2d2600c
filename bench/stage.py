"""Folding 100,000 changes into a state of five million rows, against delta-rs MERGE of the same."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from bench.measure import table
from pipelines.cdc.ledger import Ledger
from pipelines.contract import load_contracts
from pipelines.lake.duck import connect
from pipelines.lake.ids import new_id, now
from pipelines.lake.tables import create_raw_tables, raw_path, raw_schema
from tests.conformance.platform import Platform
from tests.conformance.scenario import Scenario

CHANGES = 100_000
HEADER = ["100,000 changes", "base, s", "history, s", "SCD2, s", "together, s", "dbt's wall, s",
          "MERGE, s", "MERGE against base and history"]  # fmt: skip
SCENARIO = Scenario(
    "bench",
    {
        "table": {
            "columns": {
                "id": "bigint",
                "client": "bigint",
                "status": "varchar",
                "amount": "decimal(18,2)",
                "changed_at": "timestamp",
            }
        },
        "events": [],
    },
)
# The keys of the changes, in SQL of a number from 0: those inserted last, or any.
RECENT = "{rows} - {changes} + n"
UNIFORM = "n * ({rows} // {changes}) + {seed}"


def main() -> None:
    """Print engine seconds of each model, as dbt tells them, and the wall time of the peer.

    The environment variable BENCH_ROWS asks for another state than 5,000,000 rows.
    """
    rows = int(os.environ.get("BENCH_ROWS", "5000000"))
    folder = Path(tempfile.mkdtemp(prefix="bench-stage-"))
    try:
        lake = _Lake(folder, rows)
        lake.add("c", "n", rows)
        first = lake.build()
        merged = lake.peer()
        shown: list[list[object]] = []
        for name, keys in (("recent keys", RECENT), ("uniformly spread keys", UNIFORM)):
            for turn in range(2):
                told = keys.format(rows=rows, changes=CHANGES, seed=turn)
                changes = lake.add("u", told, CHANGES)
                spent = lake.build()
                merge = _merge(merged, changes)
                engine = [spent[model] for model in ("base", "hist", "dim")]
                shown.append(
                    [f"{name}, {('first', 'second')[turn]}", *engine, sum(engine), spent["wall"],
                     merge, merge / (spent["base"] + spent["hist"])]
                )  # fmt: skip
        table(f"Staging 100,000 changes over a state of {rows:,} rows", HEADER, shown)
        print(f"\nThe first build of the {rows:,} rows took {first['wall']:.0f} s.")
    finally:
        shutil.rmtree(folder)


class _Lake:
    """A raw table filled without landing, and the product's macros upon it."""

    def __init__(self, folder: Path, rows: int) -> None:
        self._platform = Platform(folder, [SCENARIO])
        self._settings = self._platform.settings
        contracts = load_contracts(self._platform.project)
        (self._table,) = contracts.tables
        self._ledger = Ledger(self._settings.raw)
        create_raw_tables(self._settings.raw, contracts)
        self._path = raw_path(self._settings.raw, self._table)
        self._folder = folder
        self._rows = rows
        self._position = 0

    def add(self, op: str, key: str, count: int) -> pa.Table:
        """Append events, one a number below `count`, as one landed batch.

        Returns:
            their images.
        """
        batch_id, first = new_id(), self._position
        self._position += count
        schema = raw_schema(self._table)
        values = {
            "id": key,
            "client": "cast(hash(n) % 100000 as bigint)",
            "status": "case n % 4 when 0 then 'placed' when 1 then 'shipped' else 'paid' end",
            "amount": "(n % 100000) / 100",
            "changed_at": "make_timestamptz(1490000000000000 + position * 1000)",
            "_op": f"'{op}'",
            "_source_ts": "changed_at",
            "_source_ts_us": "epoch_us(changed_at)",
            "_epoch": "0",
            "_source_position": "format('{:020d}.1.{:020d}', position, position)",
            "_source_rank": "2",
            "_snapshot": "'false'",
            "_topic": f"'{self._table.topic}'",
            "_partition": "0",
            "_offset": "position",
            "_batch_id": f"'{batch_id}'",
            "_landed_at": "now()",
            "_unavailable": "[]::varchar[]",
            "_former_key": "null::varchar[]",
            "year": "year(changed_at)",
            "month": "month(changed_at)",
        }
        columns = ", ".join(f'{values.get(name, "null")} as "{name}"' for name in schema.names)

        with connect(self._settings) as connection:
            reader = connection.execute(
                f"select {columns} from (select range as n, range + {first} as position "
                f"from range({count}))"
            ).to_arrow_reader(500_000)
            batches = (
                pa.record_batch(batch.columns, schema.names).cast(schema) for batch in reader
            )
            given = pa.RecordBatchReader.from_batches(schema, batches)
            if count > CHANGES:
                write_deltalake(str(self._path), given, mode="append")
                images = schema.empty_table()
            else:
                images = given.read_all()
                write_deltalake(str(self._path), images, mode="append")
        topic = self._table.topic
        self._ledger.commit(
            [{"batch_id": batch_id, "table_name": topic, "topic": topic, "partition": 0,
              "first_offset": first, "last_offset": self._position - 1, "consumed": count,
              "landed": count, "committed_at": now()}],
            {},
        )  # fmt: skip
        return images.select([column.name for column in self._table.columns])

    def build(self) -> dict[str, float]:
        """Stage what is new; returns engine seconds by kind of model, and `wall`."""
        started = time.perf_counter()
        self._platform.stage([SCENARIO])
        spent = defaultdict(float, wall=time.perf_counter() - started)
        results = self._platform.project / "target" / "run_results.json"
        for result in json.loads(results.read_text())["results"]:
            kind = str(result["unique_id"]).split(".")[-1].split("_")[0]
            for timing in result["timing"]:
                if timing["name"] == "execute":
                    began, ended = (
                        datetime.fromisoformat(timing[name]).astimezone(UTC)
                        for name in ("started_at", "completed_at")
                    )
                    spent[kind] += (ended - began).total_seconds()
        return spent

    def peer(self) -> DeltaTable:
        """The same state as a Delta table."""
        place = str(self._folder / "merged")
        names = ", ".join(f'"{column.name}"' for column in self._table.columns)
        with connect(self._settings) as connection:
            rows = connection.execute(f"select {names} from delta_scan('{self._path}')")
            write_deltalake(place, rows.to_arrow_reader(500_000))
        return DeltaTable(place)


def _merge(table: DeltaTable, changes: pa.Table) -> float:
    started = time.perf_counter()
    (
        table.merge(changes, "t.id = s.id", source_alias="s", target_alias="t")
        .when_matched_update_all()
        .when_not_matched_insert_all()
        .execute()
    )
    return time.perf_counter() - started
