"""Refusing what only looks like the log that was read so far: a failover, or a topic made anew.

Both would be passed over in silence: positions that start lower make every change stale, and
offsets that start again make every message a repetition. Time tells them apart from what really is
late or repeated: they are newer than the change that reached furthest.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from pipelines.cdc import novelty
from pipelines.cdc.decode import LANDED, TRUNCATE
from pipelines.cdc.ledger import Progress
from pipelines.contract import Table
from pipelines.errors import LakehouseError

# A source's clock may be set back, and partitions be read one after the other.
_CLOCK_TOLERANCE = "interval 1 minute"
_WITHOUT_LAST_COMMIT = "0" * 20 + ".1."


def reached(epoch: str, position: str) -> str:
    """SQL: epoch and position as one text that sorts; what the ledger keeps of a batch."""
    return f"lpad(cast({epoch} as varchar), 10, '0') || '.' || {position}"


def refuse_another_topic(table: Table, progress: Progress) -> None:
    """See that a table's messages come in the topic in which they came before.

    Streams of Kafka are told apart by their ids.

    Raises:
        LakehouseError: files of another topic were landed, whose offsets mean other messages.
    """
    files = (name for name in progress.sources if not name.startswith("kafka:"))
    others = sorted({name.partition("/")[0] for name in files} - {table.stream_topic})
    if others:
        raise LakehouseError(
            f"{table.topic} was landed from the topic {others[0]} before, and is to come from "
            f"{table.stream_topic} now: their offsets mean different messages",
            f"give `topic` in {table.file} its former value, or land into a new lake and take a "
            "new snapshot; nothing was written",
        )


def refuse_another_log(
    connection: duckdb.DuckDBPyConnection, table: Table, progress: Progress, raw_table: Path
) -> None:
    """Look at the view `judged` before anything of it is written.

    Args:
        raw_table: folder of the raw table, asked only where a repeated message looks new.

    Raises:
        LakehouseError: positions went backwards without a new epoch, or offsets began again.
    """
    if progress.newest_source_ts is None:
        return
    position = reached("_epoch", "_source_position")
    # Without the last commit's position, an LSN alone may be lower and yet commit later.
    is_placed = (
        f"not starts_with(_source_position, '{_WITHOUT_LAST_COMMIT}')"
        if table.connector == "postgres"
        else "true"
    )
    known = " or ".join(
        f"(partition_no = {partition} and offset_no <= {highest})"
        for partition, highest in progress.highest.items()
    )
    looks_new = f"novelty = '{novelty.REPLAYED}' and _source_ts > $newest and ({known or 'false'})"
    rows = connection.execute(
        f"""select
                min(offset_no) filter (
                    novelty = '{novelty.NEW}' and disposition in ('{LANDED}', '{TRUNCATE}')
                    and _source_ts > $reached_at + {_CLOCK_TOLERANCE} and {position} < $reached
                    and _snapshot is distinct from 'incremental' and {is_placed}),
                min(offset_no) filter ({looks_new})
            from judged""",
        {
            "newest": progress.newest_source_ts,
            "reached": progress.reached_position or "",
            "reached_at": progress.reached_at,
        },
    ).fetchall()
    backwards, again = rows[0]
    if again is not None:
        # A letter that was replayed at this place is known by its position.
        (again,) = connection.execute(
            f"""select min(j.offset_no) from judged as j
                left join delta_scan($raw) as r
                    on j.partition_no = r._partition and j.offset_no = r._offset
                    and j._source_position = r._source_position
                where {looks_new.replace("_source_ts", "j._source_ts")} and r._offset is null""",
            {"newest": progress.newest_source_ts, "raw": str(raw_table)},
        ).fetchall()[0]
    if again is not None:
        raise LakehouseError(
            f"{table.topic}: offset {again} was consumed before, yet now it is a newer message: "
            "the topic was made anew, or these are files of another one",
            "land it under another topic name, or set a new `epoch` in the contract, land into a "
            "new lake and take a new snapshot; nothing of this batch was written",
        )
    if backwards is not None:
        raise LakehouseError(
            f"{table.topic}: from offset {backwards} on, positions are below those already landed, "
            "although the changes are newer: the source failed over or was restored, and its "
            "positions began anew",
            f"`lakehouse resnapshot {table.topic}` raises `epoch` in {table.file} and tells how to "
            "take the snapshot that must follow; without a new epoch every change would count as "
            "stale; nothing of this batch was written",
        )
