"""The first row that differs, found by reading both sides in the order of the key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Literal

import duckdb

from pipelines.verify.checksums import Pair, rows_of_range
from pipelines.verify.database import Database, Row

_ROWS_AT_ONCE = 2_000


@dataclass(frozen=True)
class Difference:
    """A row that is not the same on both sides.

    Attributes:
        key: column → value.
        found_in: which side has the row at all.
        columns: column → its value at the source and in the lake, where both have the row.
    """

    key: dict[str, str]
    found_in: Literal["source", "lake", "both"]
    columns: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)


def first_difference(
    database: Database,
    lake: duckdb.DuckDBPyConnection,
    pair: Pair,
    starts: Sequence[str],
    place: int,
) -> Difference | None:
    """Read one range of both sides until a row differs; None if none does.

    Args:
        starts: from `bounds`.
        place: number of the range.
    """
    sql, limits = rows_of_range(pair, starts, place, is_source=True)
    with database.stream(sql, limits) as rows:
        sql, limits = rows_of_range(pair, starts, place, is_source=False)
        return _merged(pair, rows, _fetched(lake.execute(sql, limits)))


def _fetched(result: duckdb.DuckDBPyConnection) -> Iterator[Row]:
    while rows := result.fetchmany(_ROWS_AT_ONCE):
        yield from rows


def _merged(pair: Pair, source: Iterator[Row], lake: Iterator[Row]) -> Difference | None:
    for here, there in zip_longest(source, lake):
        if here == there:
            continue
        if here is None or (there is not None and _place(pair, there) < _place(pair, here)):
            return Difference(_key(pair, there), "lake")
        if there is None or _place(pair, here) < _place(pair, there):
            return Difference(_key(pair, here), "source")
        return Difference(_key(pair, here), "both", _columns(pair, here, there))
    return None


def _place(pair: Pair, row: Row) -> list[Any]:
    return [pair.forms[name].sorts(text or "") for name, text in zip(pair.key, row, strict=False)]


def _key(pair: Pair, row: Row) -> dict[str, str]:
    return {
        name: pair.forms[name].reads(text or "") for name, text in zip(pair.key, row, strict=False)
    }


def _columns(pair: Pair, here: Row, there: Row) -> dict[str, tuple[str | None, str | None]]:
    return {
        name: (_read(pair, name, a), _read(pair, name, b))
        for name, a, b in zip(pair.forms, here, there, strict=True)
        if a != b
    }


def _read(pair: Pair, name: str, text: str | None) -> str | None:
    return None if text is None else pair.forms[name].reads(text)
