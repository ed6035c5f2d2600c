"""Raw Delta tables: their schema from the contract, their creation, and exactly-once appends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import (
    CommitProperties,
    DeltaTable,
    QueryBuilder,
    Schema,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from pipelines.contract import Column, Contracts, Table
from pipelines.lake.writer import LAKEHOUSE, Writer, properties_for

UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")
PARTITIONS = ["year", "month"]
# A table property under which app transactions, and with them the progress, are forgotten.
EXPIRY = "delta.setTransactionRetentionDuration"
# App transaction that tells under which contract a raw table is.
CONTRACT = "contract"
COMPRESSED = WriterProperties(compression="ZSTD")


def _is_worth_another_try(error: BaseException) -> bool:
    """Whether somebody else committed first, or the store's answer to a commit was lost.

    In the second case nobody knows whether it was done: delta-rs does not send it again. Other
    requests it has repeated by itself.
    """
    told = str(error)
    is_unanswered = "Error performing PUT" in told and " retries" not in told
    return isinstance(error, CommitFailedError) or (isinstance(error, OSError) and is_unanswered)


# Begun again, upon what is there now.
again_if_overtaken = retry(
    retry=retry_if_exception(_is_worth_another_try),
    stop=stop_after_attempt(5),
    wait=wait_random_exponential(multiplier=0.05, max=2),
    reraise=True,
)

_ARROW_TYPES: dict[str, pa.DataType] = {
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "smallint": pa.int16(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "varchar": pa.string(),
    "date": pa.date32(),
    "timestamp": UTC_MICROSECONDS,
}

LANDING_COLUMNS = pa.schema(
    [
        ("_op", pa.string()),
        ("_source_ts", UTC_MICROSECONDS),
        ("_source_ts_us", pa.int64()),
        ("_epoch", pa.int32()),
        ("_source_position", pa.string()),
        ("_source_rank", pa.int32()),
        ("_snapshot", pa.string()),
        ("_topic", pa.string()),
        ("_partition", pa.int32()),
        ("_offset", pa.int64()),
        ("_batch_id", pa.string()),
        ("_schema_version", pa.string()),
        ("_landed_at", UTC_MICROSECONDS),
        ("_unavailable", pa.list_(pa.string())),
        ("_extra", pa.string()),
        ("_former_key", pa.list_(pa.string())),
        ("_transaction_order", pa.int64()),
        ("year", pa.int32()),
        ("month", pa.int32()),
    ]
)


def arrow_type(column: Column) -> pa.DataType:
    """The Arrow type in which a contract column is stored; hashed and masked values are text."""
    if column.pii:
        return pa.string()
    if column.decimal:
        return pa.decimal128(*column.decimal)
    return _ARROW_TYPES[column.type]


def raw_schema(table: Table) -> pa.Schema:
    """Schema of a raw table: the contract's columns, then those of the landing."""
    columns = [pa.field(c.name, arrow_type(c)) for c in table.landed_columns]
    return pa.schema([*columns, *LANDING_COLUMNS])


def raw_path(raw: Path, table: Table) -> Path:
    """Folder of a raw table."""
    return raw / table.topic


def open_or_create(path: Path, schema: pa.Schema, *, description: str) -> DeltaTable:
    """Open a Delta table, created empty where it does not exist; columns it lacks are added."""
    if DeltaTable.is_deltatable(str(path)):
        found = DeltaTable(str(path))
        present = {field.name for field in found.schema().fields}
        added = [f for f in Schema.from_arrow(schema).fields if f.name not in present]
        if added:
            found.alter.add_columns(added)
        return found
    path.mkdir(parents=True, exist_ok=True)
    return DeltaTable.create(str(path), schema=schema, mode="ignore", description=description)


def create_raw_tables(raw: Path, contracts: Contracts, writer: Writer = LAKEHOUSE) -> None:
    """Create every raw table of the contracts, so that models find all their sources.

    Args:
        writer: the engine that is to write those that are created.
    """
    for table in contracts.tables:
        path = raw_path(raw, table)
        if DeltaTable.is_deltatable(str(path)):
            continue
        path.mkdir(parents=True, exist_ok=True)
        DeltaTable.create(
            str(path),
            schema=raw_schema(table),
            mode="ignore",
            partition_by=PARTITIONS,
            description=f"raw {table.topic}",
            configuration=None if writer == LAKEHOUSE else properties_for(writer),
            raise_if_key_not_exists=False,
            commit_properties=CommitProperties(
                app_transactions=[Transaction(CONTRACT, contract_mark(table))]
            ),
        )


def contract_mark(table: Table) -> int:
    """The version of the app transaction `CONTRACT` of a raw table that fits this contract."""
    return int(table.version, 16)


def read(table: DeltaTable, schema: pa.Schema, where: str = "true") -> pa.Table:
    """The rows of a table at the version that is open, with the columns and types of the schema.

    A table of many small files is read in an eighth of the time that its Arrow dataset takes. A
    column that a table of before has not yet is NULL.

    Args:
        where: a condition in SQL.
    """
    present = {field.name for field in table.schema().fields}
    names = ", ".join(f'"{n}"' if n in present else f'null as "{n}"' for n in schema.names)
    query = QueryBuilder().register("rows", table)
    found = pa.table(query.execute(f"select {names} from rows where {where}"))
    return found.cast(schema).combine_chunks()


def append(
    table: DeltaTable,
    data: pa.Table | pa.RecordBatchReader,
    *,
    metadata: Mapping[str, str],
    transactions: Mapping[str, int],
) -> None:
    """Append in one commit that carries data and progress together.

    delta-rs stores app transactions without enforcing them, yet refuses a commit whose table object
    has missed another commit of the same app id. So `table` must be the very object from which the
    progress was read.

    Args:
        metadata: goes into the commit info (run id, batch id, schema version).
        transactions: app id → version reached with this commit.

    Raises:
        deltalake.exceptions.CommitFailedError: somebody else moved one of the app ids meanwhile.
    """
    custom: dict[str, Any] = dict(metadata)
    write_deltalake(
        table,
        data,
        mode="append",
        writer_properties=COMPRESSED,
        commit_properties=CommitProperties(
            custom_metadata=custom,
            app_transactions=[Transaction(app, version) for app, version in transactions.items()],
        ),
    )
