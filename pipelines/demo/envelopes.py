"""Writes the log as Debezium's messages: one compressed capture file a topic.

A payload is put together as text, in the field order of Debezium 3.7: every text column goes
through to_json, the other kinds hold nothing to escape. DuckDB's JSON writer makes the line.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import duckdb

from pipelines.demo.tables import TABLES, Column, Table

_VALUES = {
    "integer": "coalesce({c}::varchar, 'null')",
    "decimal": "coalesce('\"' || {c} || '\"', 'null')",
    "text": "coalesce(to_json({c})::varchar, 'null')",
    "boolean": "coalesce({c}::varchar, 'null')",
    "timestamp": "coalesce(strftime({c}, '\"%Y-%m-%dT%H:%M:%S.%fZ\"'), 'null')",
    "date": "coalesce(strftime({c}, '\"%Y-%m-%dZ\"'), 'null')",
}

_SOURCE = """
    '"source":{{"version":"3.7.0.Final","connector":"postgresql","name":"shop","ts_ms":',
    at_us // 1000, ',"snapshot":"', snapshot, '","db":"shop","sequence":"[',
    case when is_snapshot then 'null' else concat('\\"', committed_lsn, '\\"') end,
    ',\\"', lsn, '\\"]","ts_us":', at_us, ',"ts_ns":', at_us * 1000,
    ',"schema":"public","table":"{table}","txId":', tx, ',"lsn":', lsn,
    ',"xmin":null,"origin":null,"origin_lsn":null}},"transaction":',
    case when is_snapshot then 'null' else concat('{{"id":"', tx, ':', lsn, '","total_order":',
        nth_in_tx, ',"data_collection_order":', nth_in_table, '}}') end,
    ',"op":"', op, '","ts_ms":', read_us // 1000, ',"ts_us":', read_us,
    ',"ts_ns":', read_us * 1000 + seq * 7919 % 1000, '}}'
"""

# The offsets are counted over the whole log before the slice is cut from it. As in `log`, the
# windows rely on the order in which the rows lie.
_MESSAGES = """
select '{topic}' as topic, part as "partition", "offset", 'create' as tstype,
    read_us // 1000 + 3 + seq % 17 as ts, null as headers, concat({key}) as "key",
    case when is_tombstone then null
        when op = 'd' then concat('{{"before":', {blank}, ',"after":null,', {source})
        else concat('{{"before":null,"after":', {row}, ',', {source}) end as payload
from (
    select l.*, e.* exclude (commit_at, tx_kind, tx_id, op), case
        when not is_snapshot then 'false'
        when seq = {last_of_all} then 'last' when seq = {first_of_all} then 'first'
        when seq = {last} then 'last_in_data_collection'
        when seq = {first} then 'first_in_data_collection' else 'true' end as snapshot
    from (
        select *, case part when 0 then sum((part = 0)::bigint) over so_far
            when 1 then sum((part = 1)::bigint) over so_far
            else sum((part = 2)::bigint) over so_far end::bigint - 1 as "offset"
        from log where tbl = {number}
        window so_far as (rows unbounded preceding)
    ) l
    join ev_{table} e on e.rowid = l.entry
    where l.at_us >= {from_us} and l.at_us < {until_us}
    order by l.seq, l.is_tombstone
)
"""


@dataclass(frozen=True)
class TopicCount:
    """What a slice holds of one topic; times are commit times in microseconds since 1970."""

    table: Table
    number: int
    messages: int
    first_us: int
    last_us: int


def _object(columns: tuple[Column, ...], *, blank: tuple[str, ...] | None = None) -> str:
    """The arguments of concat() that write a JSON object; all but `blank` are null if given."""
    parts = []
    for column in columns:
        value = _VALUES[column.kind].format(c=f'"{column.field}"')
        parts.append(
            f"'\"{column.name}\":null'"
            if blank is not None and column.name not in blank
            else f"'\"{column.name}\":', {value}"
        )
    return "'{', " + ", ',', ".join(parts) + ", '}'"


def count(con: duckdb.DuckDBPyConnection, from_us: int, until_us: int) -> list[TopicCount]:
    """Messages of each topic that has any between two commit times (`until_us` excluded)."""
    rows = con.execute(
        "select tbl, count(*), min(at_us), max(at_us) from log "
        f"where at_us >= {from_us} and at_us < {until_us} group by tbl order by tbl"
    ).fetchall()
    return [TopicCount(TABLES[row[0]], *row) for row in rows]


def _snapshot_bounds(con: duckdb.DuckDBPyConnection, number: int) -> dict[str, int]:
    """First and last snapshot row, by `seq`, of a table and of all (-1: it has none)."""
    bounds = con.execute(f"""
        select coalesce(min(seq) filter (tbl = {number}), -1),
            coalesce(max(seq) filter (tbl = {number}), -1), min(seq), max(seq)
        from log where is_snapshot
    """).fetchall()[0]
    return dict(zip(("first", "last", "first_of_all", "last_of_all"), bounds, strict=True))


def write(
    con: duckdb.DuckDBPyConnection,
    topics: list[TopicCount],
    paths: list[Path],
    from_us: int,
    until_us: int,
) -> None:
    """Writes each topic's messages between two commit times to its path (zstd).

    Two topics at a time, each by one thread: where two threads write one file, DuckDB gathers
    its rows in batches first, which took twice the processor time and twice the memory.
    """
    con.execute("set threads = 1")

    def copy(job: tuple[TopicCount, Path]) -> None:
        with con.cursor() as cursor:
            cursor.execute(_copy(cursor, *job, from_us, until_us))

    jobs = sorted(zip(topics, paths, strict=True), key=lambda job: -job[0].messages)
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(copy, jobs))


def _copy(
    con: duckdb.DuckDBPyConnection, topic: TopicCount, path: Path, from_us: int, until_us: int
) -> str:
    """The COPY statement that writes a topic."""
    table = topic.table
    key = tuple(column for column in table.columns if column.name in table.key)
    messages = _MESSAGES.format(
        topic=table.topic,
        table=table.name,
        number=topic.number,
        key=_object(key),
        blank=_object(table.columns, blank=table.key),
        row=_object(table.columns),
        source=_SOURCE.format(table=table.name),
        from_us=from_us,
        until_us=until_us,
        **_snapshot_bounds(con, topic.number),
    )
    target = str(path).replace("'", "''")
    return f"copy ({messages}) to '{target}' (format json, compression zstd)"
