"""One text for one value on both sides, so that the database and DuckDB compute one checksum.

What the lake writes stands here, what a source database writes in its dialect. Equal values have
equal texts, whatever they look like: 1.50 and 1.5 as decimals, an instant in any time zone.
Different values have different ones. A pair of types that has no such text is not compared, and
is told.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from pipelines.contract import Column
from pipelines.lake.sql import identifier
from pipelines.verify.dialect import Dialect

PRESENT = "present"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAKE = {
    "whole": "cast({c} as varchar)",
    "decimal": "rtrim(rtrim(cast({c} as varchar), '0'), '.')",
    "double": "case when isnan({c}) then 'NaN' else cast(cast({c} as bit) as varchar) end",
    "boolean": "cast({c} as varchar)",
    "date": "cast({c} as varchar)",
    "timestamp": "cast(epoch_us({c}) as varchar)",
    "varchar": "{c}",
}
# Doubles of the lake that are less than one at the source → what of the value is compared.
_FLOATS = {
    # What JSON tells of a real is no real: rounded to one, it is the one that it was.
    "real": "cast({c} as float)",
    # From the real, for rounding what is rounded already may end elsewhere.
    "six digits": "cast(format('{{:.6g}}', cast(cast({c} as float) as double)) as double)",
}


@dataclass(frozen=True)
class Form:
    """How a column is written for comparison.

    Attributes:
        source, lake: SQL of the value's text, null for null.
        source_order, lake_order: SQL by which both sides sort alike.
        source_bound, lake_bound: the types of what these give.
        sorts: the text → what Python sorts like them.
        reads: the text → how a person reads the value.
    """

    source: str
    lake: str
    source_order: str
    lake_order: str
    source_bound: str
    lake_bound: str
    sorts: Callable[[str], Any]
    reads: Callable[[str], str]


def form(column: Column, base: str, dialect: Dialect) -> Form | None:
    """The form of a column, None where its types have none.

    A column that lands hashed or masked is compared by whether it has a value: the database is
    never asked for personal data, nor told the key.

    Args:
        base: as `SourceColumn.base`, of the column at the source.
        dialect: the source's.
    """
    name = identifier(column.name)
    if column.pii:
        present = f"case when {name} is not null then '{PRESENT}' end"
        return _by_text(dialect, present, present, str)
    kind = _kind(column)
    if kind == "double":
        return _double(dialect, name, base)
    template = dialect.texts[kind].get(base)
    if template is None:
        return None
    source, lake = template.format(c=name), _LAKE[kind].format(c=name)
    if kind == "decimal" and column.decimal and column.decimal[1] == 0:
        lake = _LAKE["whole"].format(c=name)
    if kind == "timestamp":
        micros = dialect.instant.format(c=name)
        return Form(
            source, lake, micros, f"epoch_us({name})", dialect.whole, "bigint", int, _read_instant
        )
    if kind in ("whole", "decimal"):
        return _number(dialect, column, base, source, lake)
    return _by_text(dialect, source, lake, str)


def _kind(column: Column) -> str:
    if column.decimal:
        return "decimal"
    return "whole" if column.type in ("bigint", "integer", "smallint") else column.type


def _by_text(dialect: Dialect, source: str, lake: str, reads: Callable[[str], str]) -> Form:
    # Byte by byte, as DuckDB and Python do.
    order = dialect.bytewise.format(t=source)
    return Form(source, lake, order, lake, dialect.bytes, "varchar", str, reads)


def _double(dialect: Dialect, name: str, base: str) -> Form | None:
    """By the bits: texts of floats differ between programs."""
    kind = dialect.floats.get(base, "double")
    template = dialect.texts[kind].get(base)
    if template is None:
        return None
    value = _FLOATS[kind].format(c=name) if kind in _FLOATS else name
    lake = _LAKE["double"].format(c=value)
    return _by_text(dialect, template.format(c=name), lake, _read_double)


def _number(dialect: Dialect, column: Column, base: str, source: str, lake: str) -> Form:
    name = identifier(column.name)
    order = dialect.number_orders.get(base, "{c}").format(c=name)
    decimal = dialect.decimal.format(scale=column.decimal[1] if column.decimal else 0)
    bound = dialect.number_bounds.get(base, decimal)
    return Form(source, lake, order, name, bound, column.type, Decimal, str)


def _read_double(bits: str) -> str:
    if bits == "NaN":
        return bits
    data = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return str(struct.unpack(">d" if len(data) == 8 else ">f", data)[0])


def _read_instant(micros: str) -> str:
    try:
        return (_EPOCH + timedelta(microseconds=int(micros))).isoformat()
    except OverflowError:
        return f"{micros} µs since 1970"
