"""The log: all events in the order in which a database would commit them, with its coordinates.

Each row of table `log` is one message. What happened before the opening is folded into snapshot
rows; deletes get their tombstones; LSNs, transactions, partitions and offsets are counted over
the whole log, so that a slice of it continues where the slice before it ended.
"""

import duckdb

from pipelines.demo.tables import TABLES, Table

# `entry`: the event's row in its table; `k1`, `k2`: its key, for order and partition.
_STREAMED = """
select {number}::utinyint as tbl, commit_at, tx_kind::utinyint as tx_kind, tx_id::bigint as tx_id,
    {k1}::bigint as k1, {k2}::bigint as k2, op, rowid as entry
from ev_{name} where commit_at >= opening() and commit_at < closing()
"""

_SNAPSHOT = """
select {number}::utinyint as tbl, opening() as commit_at, 0::utinyint as tx_kind,
    0::bigint as tx_id, k1, k2, 'r' as op, entry
from (
    select op, rowid as entry, {k1}::bigint as k1, {k2}::bigint as k2
    from ev_{name} where commit_at < opening()
    qualify row_number() over (partition by k1, k2 order by commit_at desc) = 1
)
where op <> 'd'
"""

_ORDERED = """
create table ordered as
with event as ({events}), message as (
    select *, false as is_tombstone from event
    union all
    select *, true from event where op = 'd'
)
select tbl, epoch_us(commit_at) as at_us, tx_kind, tx_id, op, entry, is_tombstone,
    case {partitions} when 1 then 0 else (xor(k1, k1 >> 7) * 31 + k2 * 17) % 3 end::utinyint
        as part
from message
order by at_us, tx_kind, tx_id, tbl, k1, k2, is_tombstone
"""

# Windows without an order run over the rows as they lie, which is the order of the log, and so
# need no sort. `seq` counts events; a tombstone has the number and the LSN of its delete.
_LOG = """
create table log as
with counted as (
    select *, count(*) filter (not is_tombstone) over so_far as seq,
        coalesce(at_us <> lag(at_us) over () or tx_kind <> lag(tx_kind) over ()
            or tx_id <> lag(tx_id) over (), true) as opens_tx,
        coalesce(tbl <> lag(tbl) over (), true) as opens_table
    from ordered
    window so_far as (rows unbounded preceding)
), sized as (
    select *, case when tx_kind = 0 or is_tombstone then 0
        else 8 * (9 + seq * 7 % 23 + 4 * (tbl % 3)) + case when opens_tx then 112 else 0 end
        end as bytes
    from counted
), placed as (
    select *, 26389304 + sum(bytes) over so_far as lsn,
        count(*) filter (opens_tx) over so_far as tx_number,
        max(case when opens_tx then seq end) over so_far as tx_head,
        max(case when opens_tx or opens_table then seq end) over so_far as table_head
    from sized
    window so_far as (rows unbounded preceding)
)
select tbl, part, entry, op, is_tombstone, tx_kind = 0 as is_snapshot, at_us,
    seq::bigint as seq, lsn::bigint as lsn, (733 + tx_number)::bigint as tx,
    max(case when opens_tx then lsn end) over (rows unbounded preceding)::bigint - 56
        as committed_lsn,
    (seq - tx_head + 1)::integer as nth_in_tx, (seq - table_head + 1)::integer as nth_in_table,
    at_us + case when tx_kind = 0 then 320000 + seq * 25 else 4000 + seq * 7919 % 36000 end
        as read_us
from placed
"""


def _keys(table: Table) -> dict[str, str]:
    k1, *rest = table.order_by
    return {"name": table.name, "k1": k1, "k2": rest[0] if rest else "0"}


def build(con: duckdb.DuckDBPyConnection) -> None:
    """Makes `log`, from the events of all tables."""
    selects = [
        select.format(number=number, **_keys(table))
        for number, table in enumerate(TABLES)
        for select in (_STREAMED, _SNAPSHOT)
    ]
    counts = " ".join(f"when {number} then {t.partitions}" for number, t in enumerate(TABLES))
    con.execute(
        _ORDERED.format(events=" union all ".join(selects), partitions=f"(case tbl {counts} end)")
    )
    con.execute(_LOG)
    con.execute("drop table ordered")
