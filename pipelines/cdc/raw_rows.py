"""Judged messages as the rows that a raw table stores."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import duckdb
import pyarrow as pa

from pipelines.cdc import novelty
from pipelines.cdc.decode import LANDED, TRUNCATE
from pipelines.cdc.masking import Masker
from pipelines.contract import Table
from pipelines.lake.tables import LANDING_COLUMNS, raw_schema

_ROWS_A_BATCH = 100_000


def new_rows(
    connection: duckdb.DuckDBPyConnection,
    contract: Table,
    masker: Masker,
    batch_id: str,
    landed_at: datetime,
) -> pa.RecordBatchReader:
    """The rows of the view `judged` that are new, as the raw table stores them."""
    schema = raw_schema(contract)
    found = connection.execute(
        f"""select {_stored(contract)} from judged
            where novelty = '{novelty.NEW}' and disposition in ('{LANDED}', '{TRUNCATE}')""",
        {"batch_id": batch_id, "landed_at": landed_at},
    )
    return _as_stored(found, schema, contract, masker)


def all_rows(
    connection: duckdb.DuckDBPyConnection,
    contract: Table,
    masker: Masker,
    batch_id: str,
    landed_at: datetime,
    more: dict[str, tuple[str, pa.DataType]],
) -> pa.RecordBatchReader:
    """All rows of `decoded` as a raw table would store them, those that do not land as well.

    Args:
        more: name → SQL and type of further columns, which come last.
    """
    schema = raw_schema(contract)
    for name, (_, data_type) in more.items():
        schema = schema.append(pa.field(name, data_type))
    added = ", ".join(f"{sql} as {name}" for name, (sql, _) in more.items())
    found = connection.execute(
        f"select {_stored(contract)}, {added} from decoded",
        {"batch_id": batch_id, "landed_at": landed_at},
    )
    return _as_stored(found, schema, contract, masker)


def _stored(contract: Table) -> str:
    constants = {"_batch_id": "$batch_id", "_landed_at": "$landed_at::timestamptz"}
    return ", ".join(
        [f'"v_{column.name}"' for column in contract.landed_columns]
        + [constants.get(name, name) for name in LANDING_COLUMNS.names]
    )


def _as_stored(
    found: duckdb.DuckDBPyConnection, schema: pa.Schema, contract: Table, masker: Masker
) -> pa.RecordBatchReader:
    def stored(column: pa.Array, field: pa.Field) -> pa.Array:
        sealed = field.name == "_extra" and contract.has_pii
        return _sealed(masker, column) if sealed else column.cast(field.type)

    batches: Iterator[pa.RecordBatch] = (
        pa.record_batch([*map(stored, batch.columns, schema)], schema=schema)
        for batch in found.to_arrow_reader(_ROWS_A_BATCH)
    )
    return pa.RecordBatchReader.from_batches(schema, batches)


def _sealed(masker: Masker, texts: pa.Array) -> pa.Array:
    """Unknown fields may hold personal data that no rule covers yet."""
    return pa.array([t and masker.seal_text(t) for t in texts.to_pylist()], pa.string())
