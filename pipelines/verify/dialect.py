"""How a source database writes what is compared: its SQL, as templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class RowHash:
    """SQL of a row's checksum; {t} is a text.

    Attributes:
        length: how many characters a text has, as text.
        number: 60 bits of the MD5 of a text in UTF-8.
    """

    length: str
    number: str


@dataclass(frozen=True)
class Dialect:
    """SQL of a source database; {c} is a column, {t} a text.

    Attributes:
        texts: kind of value → base type → its text. Base types as `SourceColumn.base`; those that
            are missing have no text that the lake could write, too.
        floats: base type → the kind, where a double of the contract is less than one.
        row_hash: see there.
        instant: microseconds since 1970, as a number.
        whole: type of that number.
        bytewise, bytes: a text by which rows sort byte by byte; and its type.
        number_orders: base type → by what numbers sort, where not by the column, which an index
            may have in order.
        number_bounds: base type → type of what numbers are held to, where not `decimal`.
        decimal: type that holds any number of {scale} digits behind the point.
        place: SQL of the range of a row, and its parameters; of what sorts, its type, and where
            all ranges but the first begin.
    """

    texts: Mapping[str, Mapping[str, str]]
    floats: Mapping[str, str]
    row_hash: RowHash
    instant: str
    whole: str
    bytewise: str
    bytes: str
    decimal: str
    number_bounds: Mapping[str, str]
    place: Callable[[str, str, Sequence[str]], tuple[str, list[Any]]]
    number_orders: Mapping[str, str] = field(default_factory=dict)
