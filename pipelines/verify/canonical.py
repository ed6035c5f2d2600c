"""One text for one value on both sides, so that the database and DuckDB compute one checksum.

Equal values have equal texts, whatever they look like: 1.50 and 1.5 as decimals, an instant in any
time zone. Different values have different ones. A pair of types that has no such text here is not
compared, and is told.
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

PRESENT = "present"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FINITE = "case when isfinite({c}) then %s end"
_MICROS = "(extract(epoch from {c}) * 1000000)::bigint"
_BITS = (
    "case when {c} = 'NaN' then 'NaN' else ('x' || encode(%ssend({c}), 'hex'))::bit(%d)::text end"
)
_AS_WRITTEN = "case when {c} is not null then concat({c}) end"
_SPECIAL = "when 'NaN' then 'NAN' when 'Infinity' then 'POSITIVE_INFINITY' "
_SPECIAL += "when '-Infinity' then 'NEGATIVE_INFINITY'"
_PART = "extract({part} from {{c}})::bigint"

_WHOLE = dict.fromkeys(("int2", "int4", "int8", "oid"), "{c}::text")
_NUMBERS = _WHOLE | {
    "numeric": "trim_scale({c})::text",
    "money": "trim_scale({c}::numeric)::text",
}
# What Debezium writes where the contract has a text; base type → PostgreSQL.
_TEXTS = _WHOLE | {
    **dict.fromkeys(
        (
            "text", "varchar", "bpchar", "citext", "char", "enum", "uuid", "json", "jsonb", "xml",
            "inet", "cidr", "macaddr", "macaddr8", "ltree", "tsvector", "int4range", "int8range",
            "numrange", "daterange", "tsrange",
        ),
        _AS_WRITTEN,
    ),
    **dict.fromkeys(
        ("text[]", "varchar[]", "uuid[]", "enum[]", "numeric[]"), "to_json({c}::text[])::text"
    ),
    **dict.fromkeys(("int2[]", "int4[]", "int8[]", "bool[]"), "to_json({c})::text"),
    "numeric": f"case {{c}} {_SPECIAL} else {{c}}::text end",
    "bool": "{c}::text",
    "bytea": "replace(encode({c}, 'base64'), e'\\n', '')",
    # The last moment of a day is the first one to Java.
    "time": "case when {c} = '24:00' then '00:00:00' else {c}::text end || 'Z'",
    "timetz": "({c} at time zone 'UTC')::time::text || 'Z'",
    "interval": "'P' || {} || 'Y' || {} || 'M' || {} || 'D' || 'T' || {} || 'H' || {} || 'M' || "
    "trim_scale(extract(second from {{c}}))::text || 'S'".format(
        *(_PART.format(part=part) for part in ("year", "month", "day", "hour", "minute"))
    ),
}  # fmt: skip
_SOURCE: dict[str, dict[str, str]] = {
    "whole": _NUMBERS,
    "decimal": _NUMBERS,
    "double": {"float8": _BITS % ("float8", 64), "float4": _BITS % ("float4", 32)},
    "boolean": {"bool": "{c}::text", "bit": "({c} = b'1')::text"},
    "date": {"date": _FINITE % "{c}::text"},
    "timestamp": dict.fromkeys(("timestamp", "timestamptz"), _FINITE % f"{_MICROS}::text"),
    "varchar": _TEXTS,
}
_LAKE = {
    "whole": "cast({c} as varchar)",
    "decimal": "rtrim(rtrim(cast({c} as varchar), '0'), '.')",
    "double": "case when isnan({c}) then 'NaN' else cast(cast({c} as bit) as varchar) end",
    "boolean": "cast({c} as varchar)",
    "date": "cast({c} as varchar)",
    "timestamp": "cast(epoch_us({c}) as varchar)",
    "varchar": "{c}",
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


def form(column: Column, base: str) -> Form | None:
    """The form of a column, None where its types have none.

    A column that lands hashed or masked is compared by whether it has a value: the database is
    never asked for personal data, nor told the key.

    Args:
        base: as `SourceColumn.base`, of the column at the source.
    """
    name = identifier(column.name)
    if column.pii:
        present = f"case when {name} is not null then '{PRESENT}' end"
        return _by_text(present, present, str)
    kind = _kind(column)
    template = _SOURCE[kind].get(base)
    if template is None:
        return None
    source, lake = template.format(c=name), _LAKE[kind].format(c=name)
    if kind == "decimal" and column.decimal and column.decimal[1] == 0:
        lake = _LAKE["whole"].format(c=name)
    if kind == "double":
        return _double(source, name, base)
    if kind == "timestamp":
        micros = _MICROS.format(c=name)
        return Form(source, lake, micros, f"epoch_us({name})", "int8", "bigint", int, _read_instant)
    if kind in ("whole", "decimal"):
        return _number(column, base, source, lake)
    return _by_text(source, lake, str)


def _kind(column: Column) -> str:
    if column.decimal:
        return "decimal"
    return "whole" if column.type in ("bigint", "integer", "smallint") else column.type


def _by_text(source: str, lake: str, reads: Callable[[str], str]) -> Form:
    # Byte by byte, as DuckDB and Python do: no other collation is the same everywhere.
    return Form(source, lake, f'({source}) collate "C"', lake, "text", "varchar", str, reads)


def _double(source: str, name: str, base: str) -> Form:
    """By the bits: texts of floats differ between programs. A real is one in the lake, too."""
    value = f"cast({name} as float)" if base == "float4" else name
    return _by_text(source, _LAKE["double"].format(c=value), _read_double)


def _number(column: Column, base: str, source: str, lake: str) -> Form:
    name = identifier(column.name)
    # As it is, where an index can give the order.
    order = f"{name}::numeric" if base == "money" else name
    bound = "int8" if base in _WHOLE else "numeric"
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
