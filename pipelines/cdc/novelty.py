"""Telling new messages from repeated ones, by their coordinates.

A message is surely known where the ledger has a range without holes. Elsewhere below the highest
offset (after a crash between two commits, or when files come in another order) the raw table itself
is asked, so that nothing lands twice and nothing in a gap is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb
import pyarrow as pa

from pipelines.cdc import dead_letters
from pipelines.cdc.decode import DEAD, LANDED, ROUTED, TRUNCATE
from pipelines.cdc.ledger import Progress

NEW, ORPHAN, REPLAYED = "new", "orphan", "replayed"


def judge(
    connection: duckdb.DuckDBPyConnection,
    progress: Progress,
    reached: Mapping[int, int],
    raw: Path,
    raw_table: Path | None,
) -> None:
    """Make the view `judged`: `decoded` with a column `novelty`.

    new: to be landed and counted. orphan: in the raw table already, but not in the ledger; to be
    counted only. replayed: known.

    Args:
        reached: per partition, the version of the raw table's app transaction.
        raw: folder of all raw tables.
        raw_table: folder of the raw table; None where the topic has no contract.
    """
    connection.execute("drop view if exists judged; drop table if exists judged_rows")
    if _all_above(connection, progress, reached):
        connection.execute(f"create temp view judged as select *, '{NEW}' as novelty from decoded")
        return
    _register_ranges(connection, "dense_ranges", progress.dense)
    _register_ranges(connection, "sparse_ranges", progress.sparse)
    _find_existing(connection, raw / dead_letters.FOLDER, raw_table)
    _register(
        connection,
        "counted_batches",
        pa.table({"batch_id": pa.array(sorted(progress.batches), pa.string())}),
    )
    # What is routed is in the lake under its table: there it is judged again.
    in_lake = f"disposition in ('{LANDED}', '{TRUNCATE}', '{DEAD}', '{ROUTED}')"
    connection.execute(
        f"""
        create temp table judged_rows as
        with placed as (
            select d.*,
                row_number() over (
                    partition by d.partition_no, d.offset_no order by d.line_number) as copy_no,
                exists (select 1 from dense_ranges as r where r.partition = d.partition_no
                    and d.offset_no between r.first_offset and r.last_offset) as in_dense,
                exists (select 1 from sparse_ranges as r where r.partition = d.partition_no
                    and d.offset_no between r.first_offset and r.last_offset) as in_sparse,
                -- By the alphabet a row comes before a letter.
                (select max(x.disposition) from existing as x where x._partition = d.partition_no
                    and x._offset = d.offset_no) as in_lake_as,
                exists (select 1 from existing as x
                    join counted_batches as b on x._batch_id = b.batch_id
                    where x._partition = d.partition_no and x._offset = d.offset_no) as is_counted
            from decoded as d
        ), told as (
            select *, case
                when partition_no is null or offset_no is null then '{NEW}'
                when copy_no > 1 or in_dense then '{REPLAYED}'
                when in_sparse and (is_counted or not {in_lake}) then '{REPLAYED}'
                when in_lake_as is not null then '{ORPHAN}'
                else '{NEW}' end as novelty
            from placed
        )
        -- What was written stands, though another contract would judge otherwise by now.
        select * exclude (copy_no, in_dense, in_sparse, in_lake_as, is_counted)
            replace (case when novelty = '{ORPHAN}' then in_lake_as else disposition end
                as disposition)
        from told
        """
    )
    connection.execute("create temp view judged as select * from judged_rows")


def orphan_batches(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Batches whose rows are in the raw table although the ledger does not know them."""
    if not connection.execute(f"select count(*) from judged where novelty = '{ORPHAN}'").fetchall()[
        0
    ][0]:
        return []
    rows = connection.execute(
        f"""select distinct x._batch_id from existing as x join judged as j
            on x._partition = j.partition_no and x._offset = j.offset_no and x.is_row
            where j.novelty = '{ORPHAN}' order by all"""
    ).fetchall()
    return [batch_id for (batch_id,) in rows]


def _all_above(
    connection: duckdb.DuckDBPyConnection, progress: Progress, reached: Mapping[int, int]
) -> bool:
    rows = connection.execute(
        """select partition_no, min(offset_no), count(*) = count(distinct offset_no)
           from decoded where partition_no is not null group by all"""
    ).fetchall()
    return all(
        lowest is not None
        and distinct
        and lowest > max(progress.highest.get(partition, -1), reached.get(partition, -1))
        for partition, lowest, distinct in rows
    )


def _register_ranges(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    ranges: Mapping[int, list[tuple[int, int]]],
) -> None:
    flat = [(p, first, last) for p, runs in ranges.items() for first, last in runs]
    partitions, firsts, lasts = zip(*flat, strict=True) if flat else ((), (), ())
    table = pa.table(
        {
            "partition": pa.array(partitions, pa.int32()),
            "first_offset": pa.array(firsts, pa.int64()),
            "last_offset": pa.array(lasts, pa.int64()),
        }
    )
    _register(connection, name, table)


def _register(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    connection.register("given", table)
    connection.execute(f"create or replace temp table {name} as select * from given")
    connection.unregister("given")


def _find_existing(
    connection: duckdb.DuckDBPyConnection, letters: Path, raw_table: Path | None
) -> None:
    """Make the table `existing`: coordinates in the lake within the block's range of offsets."""
    within = """_offset between (select min(offset_no) from decoded)
        and (select max(offset_no) from decoded)"""
    connection.execute(
        f"""create or replace temp table existing as
        select partition as _partition, "offset" as _offset, batch_id as _batch_id, false as is_row,
            '{DEAD}' as disposition
        from delta_scan(?)
        where topic in (select distinct topic_name from decoded) and {within}""",
        [str(letters)],
    )
    if raw_table is not None:
        connection.execute(
            f"""insert into existing
            select _partition, _offset, _batch_id, true,
                case when _op = 't' then '{TRUNCATE}' else '{LANDED}' end
            from delta_scan(?) where {within}""",
            [str(raw_table)],
        )
