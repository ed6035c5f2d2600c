"""A raw table filled without landing, and the product's macros upon it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from bench.models import Run, run_models
from pipelines.cdc.ledger import Ledger
from pipelines.contract import load_contracts
from pipelines.lake.duck import connect
from pipelines.lake.ids import new_id, now
from pipelines.lake.tables import create_raw_tables, raw_path, raw_schema
from tests.conformance.platform import Platform
from tests.conformance.scenario import Scenario

MODELS = ("base", "hist", "dim")
_SCENARIO = Scenario(
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


class RawLake:
    """One table of events, its ledger, and a dbt project of a model of each kind."""

    def __init__(self, folder: Path) -> None:
        self._platform = Platform(folder, [_SCENARIO])
        self._settings = self._platform.settings
        contracts = load_contracts(self._platform.project)
        (self._table,) = contracts.tables
        self._ledger = Ledger(self._settings.raw)
        create_raw_tables(self._settings.raw, contracts)
        self._path = raw_path(self._settings.raw, self._table)
        self._folder = folder
        self._position = 0

    def add(self, op: str, key: str, count: int) -> None:
        """Append events, one a number `n` below `count`, as one landed batch.

        Args:
            key: the key of each event, in SQL of `n`.
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
            write_deltalake(str(self._path), given, mode="append")
        topic = self._table.topic
        self._ledger.commit(
            [{"batch_id": batch_id, "table_name": topic, "topic": topic, "partition": 0,
              "first_offset": first, "last_offset": self._position - 1, "consumed": count,
              "landed": count, "committed_at": now()}],
            {},
        )  # fmt: skip

    def build(self, *kinds: str) -> Run:
        """Stage what is new: current state, history and SCD2 versions, or some of `MODELS` only."""
        names = [f"{kind}_{_SCENARIO.table}" for kind in kinds]
        return run_models(self._platform.project, self._settings.home, *names)

    def newest(self, count: int) -> pa.Table:
        """The images of the events appended last."""
        first = self._position - count
        with connect(self._settings) as connection:
            return self._images(connection, f"_offset >= {first}").read_all()

    def peer(self) -> DeltaTable:
        """The images of all events as a Delta table."""
        place = str(self._folder / "merged")
        with connect(self._settings) as connection:
            write_deltalake(place, self._images(connection, "true"))
        return DeltaTable(place)

    def _images(
        self, connection: duckdb.DuckDBPyConnection, condition: str
    ) -> pa.RecordBatchReader:
        names = ", ".join(f'"{column.name}"' for column in self._table.columns)
        rows = connection.execute(
            f"select {names} from delta_scan('{self._path}') where {condition}"
        )
        return rows.to_arrow_reader(500_000)
