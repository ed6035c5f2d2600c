"""Retention: changes that later ones have superseded go from a raw table after the contract's days.

What stays tells the current state, the values that it took from earlier events, and the history
from the horizon on. The ledger counts what goes as retired, so that landings go on as before.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import structlog
from deltalake import CommitProperties, DeltaTable, write_deltalake

from pipelines import transform
from pipelines.cdc import books
from pipelines.cdc.decode import LANDED, TRUNCATE
from pipelines.cdc.ledger import COUNTERS, RETIRED, Ledger
from pipelines.contract import Contracts, Table
from pipelines.lake import lock
from pipelines.lake.duck import connect
from pipelines.lake.ids import new_id, now
from pipelines.lake.sql import delta_scan, identifier
from pipelines.lake.tables import COMPRESSED, PARTITIONS, again_if_overtaken, raw_path
from pipelines.lake.writer import LAKEHOUSE, refuse_other_writer
from pipelines.settings import Settings

log = structlog.get_logger()

COMMAND = "lakehouse maintain"
_ROWS_A_PIECE = 100_000
_ORDER = "(_epoch, _source_position, _source_rank, _offset)"


def retire(settings: Settings, table: Table, run_id: str, *, dry_run: bool = False) -> int:
    """Delete the changes that are older than the contract's `retention_days` and superseded.

    The next build makes everything anew, so that history, too, no longer tells it.

    Returns:
        how many rows went, or would go.

    Raises:
        Busy: a run holds this lake.
        LakehouseError: the books of the lake do not agree.
        deltalake.exceptions.CommitFailedError: others keep committing to the table.
    """
    if table.retention_days is None:
        return 0
    horizon = now() - timedelta(days=table.retention_days)
    with connect(settings) as connection:
        if dry_run:
            _, _, rows = _mark_retired(connection, settings, table, horizon)
            return rows
        with lock.exclusive(settings.state, COMMAND):
            return _retire(connection, settings, table, horizon, run_id)


@again_if_overtaken
def _retire(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    table: Table,
    horizon: datetime,
    run_id: str,
) -> int:
    """Rewrite the months up to the horizon, upon the version read."""
    found, ledger, retired = _mark_retired(connection, settings, table, horizon)
    if not retired:
        return 0
    transform.begin_anew(settings, run_id)
    # First of all: a table that held less than the ledger counts would be refused as damaged.
    _count(connection, ledger, table, run_id)
    schema = pa.schema(found.schema())
    reader = connection.execute(
        f"""select {", ".join(map(identifier, schema.names))} from event
        where not is_retired and {_months_until(horizon)}"""
    ).to_arrow_reader(_ROWS_A_PIECE)
    write_deltalake(
        found,
        pa.RecordBatchReader.from_batches(schema, (batch.cast(schema) for batch in reader)),
        mode="overwrite",
        predicate=_months_until(horizon),
        partition_by=PARTITIONS,
        writer_properties=COMPRESSED,
        commit_properties=CommitProperties(
            custom_metadata={"run_id": run_id}, max_commit_retries=0
        ),
    )
    log.info("rows retired", topic=table.topic, rows=retired, horizon=horizon.isoformat())
    return retired


def _months_until(horizon: datetime) -> str:
    """SQL of the partitions that may hold rows before the horizon."""
    return f"(year < {horizon.year} or (year = {horizon.year} and month <= {horizon.month}))"


def _mark_retired(
    connection: duckdb.DuckDBPyConnection, settings: Settings, table: Table, horizon: datetime
) -> tuple[DeltaTable, Ledger, int]:
    """Make the view `event`: the rows of the newest version with `is_retired`.

    Returns:
        that version, the ledger, and how many rows are retired.
    """
    ledger, _ = books.open_ledger(settings.raw, Contracts([table]))
    path = raw_path(settings.raw, table)
    found = DeltaTable(str(path))
    refuse_other_writer(found, LAKEHOUSE)
    batches = pa.table({"batch_id": sorted(ledger.progress(table.topic).batches)})
    connection.register("counted_batch", batches)
    connection.execute(f"create or replace temp view raw_row as from {delta_scan(found)}")
    connection.execute(f"create or replace temp view event as {events_sql(table, horizon)}")
    ((rows,),) = connection.execute("select count(*) from event where is_retired").fetchall()
    return found, ledger, int(rows)


def events_sql(table: Table, horizon: datetime) -> str:
    """SQL of the rows of `raw_row` with `is_retired`.

    The horizon is a place in the source's log: the first change that is young enough. Of what is
    before it, each key keeps its last whole change, the state from which its history goes on.
    Uncounted rows are a crash's: the next landing names their batches. A truncate and the end of a
    snapshot concern every key, those of late events, too.
    """
    before = f"""coalesce({_ORDER} < (
            select min({_ORDER}) from raw_row where _source_ts >= timestamptz '{horizon}'), true)"""
    may_go = """_op <> 't' and coalesce(_snapshot, '') not in ('last', 'last_in_data_collection')
            and _batch_id in (from counted_batch)"""
    if not table.key:
        return f"select *, {may_go} and {before} as is_retired from raw_row"
    key = ", ".join(map(identifier, table.key))
    is_whole, has_no_heir = "true", "true"
    if any(column.toast or column.dropped for column in table.landed_columns):
        # A value that an event left out is that of an event before it, of a former key even.
        is_whole = "_op in ('c', 'u', 'r') and len(_unavailable) = 0"
        texts = ", ".join(f"cast({identifier(name)} as varchar)" for name in table.key)
        has_no_heir = f"""[{texts}] not in (
            select _former_key from raw_row where _former_key is not null)"""
    return f"""
    select raw_row.*,
        coalesce({may_go} and {has_no_heir} and {_ORDER} < whole.at, false) as is_retired
    from raw_row
    left join (
        select {key}, max({_ORDER}) as at from raw_row
        where _op <> 't' and {is_whole} and {before} group by all
    ) as whole using ({key})"""


def _count(
    connection: duckdb.DuckDBPyConnection, ledger: Ledger, table: Table, run_id: str
) -> None:
    """Bring the ledger's count to what stays; nothing to do where a crash came after it."""
    ((staying,),) = connection.execute(
        "select count(*) from event where not is_retired and _batch_id in (from counted_batch)"
    ).fetchall()
    overview = ledger.overview()
    counted = overview.filter(pc.equal(overview["topic"], table.topic))
    landed = sum(pc.sum(counted[name]).as_py() or 0 for name in (LANDED, TRUNCATE))
    if landed == staying:
        return
    row = dict.fromkeys(COUNTERS, 0) | {
        "batch_id": new_id(),
        "run_id": run_id,
        "table_name": table.topic,
        "topic": table.topic,
        "consumed": 0,
        LANDED: staying - landed,
        RETIRED: landed - staying,
        "committed_at": now(),
    }
    ledger.commit([row], {"run_id": run_id}, serial=f"{table.topic}:retention")
