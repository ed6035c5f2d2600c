"""Counts and checksums of the rows of a table, by ranges of its key, on both sides.

The checksum of a row is 60 bits of the MD5 of its values' texts; that of a range is their sum, so
that no order matters. Ranges are cut at every so many rows of the lake, by the key's first column:
a database answers all of them with one scan, and only a range that differs is ever fetched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from pipelines.lake.sql import identifier
from pipelines.verify.canonical import Form
from pipelines.verify.database import Database
from pipelines.verify.dialect import RowHash

ROWS_A_RANGE = 20_000
_LAKE = RowHash(
    length="cast(length({t}) as varchar)",
    number="cast(cast('0x' || substr(md5({t}), 1, 15) as bigint) as hugeint)",
)


@dataclass(frozen=True)
class Side:
    """Where the rows of one side are.

    Attributes:
        relation: what stands behind `from`.
        condition: which of its rows are compared.
    """

    relation: str
    condition: str = "true"


@dataclass(frozen=True)
class Pair:
    """A table on both sides.

    Attributes:
        forms: of each column compared, key columns first.
        key: names of the key columns, all of which have forms; empty where rows have no order.
    """

    source: Side
    lake: Side
    forms: dict[str, Form]
    key: tuple[str, ...]


# Range → rows, sum of their checksums.
Sums = dict[int, tuple[int, int]]


def bounds(lake: duckdb.DuckDBPyConnection, pair: Pair, rows: int = ROWS_A_RANGE) -> list[str]:
    """Where ranges begin: values of the key's first column as text, in order, without the least.

    They are left in the lake's connection as the temporary table `bound` (place from 1, value).
    """
    lead = pair.forms[pair.key[0]].lake_order
    lake.execute(
        f"""create or replace temp table bound as
        select row_number() over (order by value) as place, value from (
            select distinct value from (
                select {lead} as value, row_number() over (order by {lead}) as number
                from {pair.lake.relation} where {pair.lake.condition}
            ) where number > 1 and (number - 1) % {rows} = 0
        )"""
    )
    found = lake.execute("select cast(value as varchar) from bound order by place").fetchall()
    return [value for (value,) in found]


def of_source(database: Database, pair: Pair, starts: Sequence[str]) -> Sums:
    """The sums of the database's rows, in one scan."""
    place, parameters = "0", list[Any]()
    if pair.key:
        lead = pair.forms[pair.key[0]]
        place, parameters = database.dialect.place(lead.source_order, lead.source_bound, starts)
    checksum = _checksum(database.dialect.row_hash, [f.source for f in pair.forms.values()])
    found = database.rows(
        f"select {place}, count(*), sum({checksum}) "
        f"from {pair.source.relation} where {pair.source.condition} group by 1",
        parameters,
    )
    return {int(number): (int(rows), int(total)) for number, rows, total in found}


def of_lake(lake: duckdb.DuckDBPyConnection, pair: Pair) -> Sums:
    """The sums of the lake's rows, by the ranges that `bounds` has left."""
    checksum = _checksum_of_lake(pair)
    if not pair.key:
        found = lake.execute(
            f"select 0, count(*), sum({checksum}) "
            f"from {pair.lake.relation} where {pair.lake.condition} having count(*) > 0"
        )
    else:
        found = lake.execute(
            f"""select coalesce(bound.place, 0), count(*), sum(living.checksum)
            from (
                select {pair.forms[pair.key[0]].lake_order} as lead,
                    {checksum} as checksum
                from {pair.lake.relation} where {pair.lake.condition}
            ) as living
            asof left join bound on living.lead >= bound.value
            group by 1"""
        )
    return {int(place): (int(rows), int(total)) for place, rows, total in found.fetchall()}


def of_changes(lake: duckdb.DuckDBPyConnection, pair: Pair) -> tuple[int, int | None]:
    """Rows and checksum that the changes of a table without a key add up to.

    Creates and reads add a row, deletes take one away. An update does not tell the row that it
    replaced, so that with one the checksum is not known (None); the count is.
    """
    checksum = _checksum_of_lake(pair)
    ((rows, total, updates),) = lake.execute(
        f"""with change as (
            select *, case when _op = 'd' then -1 when _op in ('c', 'r') then 1 else 0 end as sign
            from {pair.lake.relation}
            where _op not in ('t', 'p') and _order_key > coalesce((
                select max(_order_key) from {pair.lake.relation} where _op in ('t', 'p')), '')
        )
        select coalesce(sum(sign), 0), coalesce(sum(sign * {checksum}), 0),
            count(*) filter (_op = 'u')
        from change"""
    ).fetchall()
    return int(rows), None if updates else int(total)


def _checksum_of_lake(pair: Pair) -> str:
    return _checksum(_LAKE, [form.lake for form in pair.forms.values()])


def _checksum(row_hash: RowHash, texts: Sequence[str]) -> str:
    """SQL of a row's checksum. Lengths before the texts: `ab`, `c` is not `a`, `bc`."""
    parts = [f"coalesce({row_hash.length.format(t=t)} || ':' || ({t}), '-')" for t in texts]
    return row_hash.number.format(t=" || ".join(parts))


def rows_of_range(
    pair: Pair, starts: Sequence[str], place: int, *, is_source: bool
) -> tuple[str, list[str]]:
    """SQL of the rows of one range as texts, in the order of the key, and its parameters."""
    mark = "%s" if is_source else "?"
    forms = [pair.forms[name] for name in pair.key]
    lead = forms[0]
    order = [form.source_order if is_source else form.lake_order for form in forms]
    bound = lead.source_bound if is_source else lead.lake_bound
    # The bounds are texts; the value that they stand for is of the key's type.
    limits = [(">=", starts[place - 1])] if place > 0 else []
    limits += [("<", starts[place])] if place < len(starts) else []
    side = pair.source if is_source else pair.lake
    conditions = [side.condition]
    conditions += [f"{order[0]} {sign} cast({mark} as {bound})" for sign, _ in limits]
    texts = ", ".join(
        f"{form.source if is_source else form.lake} as {identifier(f't{number}')}"
        for number, form in enumerate(pair.forms.values())
    )
    sql = (
        f"select {texts} from {side.relation} where {' and '.join(conditions)} "
        f"order by {', '.join(order)}"
    )
    return sql, [value for _, value in limits]
