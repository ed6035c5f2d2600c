"""SQL of a row's values: the text of each column, its typed value, and what the type cannot keep.

Each value is typed under a check that refuses whatever a cast would silently round, cut or null.
The names of a column's steps: `s_` its text as it came, `t_` as its type reads it, `x_` what the
type cannot keep, `v_` the value, `bad_` whether the text is no exact value of the type.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Collection, Iterable

from pipelines.cdc.encodings import (
    FINER_THAN_MICROS,
    INFINITE,
    INFINITE_DAYS,
    decoded,
)
from pipelines.contract import Column, Table
from pipelines.lake.sql import identifier, literal

# What every reader can hold: a PostgreSQL date may be infinite, or of the year 5,874,897.
FIRST_DAY, AFTER_LAST_DAY = "0001-01-01", "10000-01-01"


def column_text(column: Column, table: Table) -> str:
    name = identifier(column.name)
    value = f"image.{name}"
    if column.name in table.key:
        # The message key is parsed only where the image does not tell.
        paths = [literal(f'{root}"{column.name}"') for root in ("$.", "$.payload.")]
        keys = ", ".join(f"try(json_extract_string(key_text, {path}))" for path in paths)
        value = f"coalesce(image.{name}, {keys})"
    return f"case when op <> 't' then {value} end as {identifier('s_' + column.name)}"


def plain_text(column: Column, table: Table, encoded: Collection[str]) -> str:
    """SQL of a value's text as its type reads it (`t_`), and of what the type cannot keep (`x_`).

    An infinite time and a fraction below the microsecond have no place in any engine's timestamp:
    the value becomes empty or is cut, and its source text is kept among the extra fields.
    """
    told = identifier("s_" + column.name)
    encoding = _encoding(column, encoded)
    plain = decoded(column, told, encoding)
    kept = "null::varchar"
    if column.toast:
        plain = f"case when not {is_unavailable(column, table)} then {plain} end"
    if column.type in ("date", "timestamp") and not column.pii:
        infinite = _is_one_of(told, INFINITE)
        finer = f"length({told}) > 26 and regexp_matches({told}, {literal(FINER_THAN_MICROS)})"
        if encoding:
            days = _is_one_of(told, INFINITE_DAYS)
            infinite = f"({infinite} or coalesce({encoding} = 'days' and {days}, false))"
            below = f"{encoding} = 'nanos' and try_cast({told} as bigint) % 1000 <> 0"
            finer = f"({finer} or coalesce({below}, false))"
        if column.name in table.key:
            # Cut, two keys could become one.
            plain = (
                f"case when {finer} then {told} || ' (finer than microseconds)' else {plain} end"
            )
        else:
            kept = f"case when {infinite} or {finer} then {told} end"
        plain = f"case when not {infinite} then {plain} end"
    x, t = identifier("x_" + column.name), identifier("t_" + column.name)
    return f"{plain} as {t}, {kept} as {x}"


def typed_value(column: Column) -> str:
    """SQL of a column's value and of whether its text is no exact value of the contract's type."""
    text = identifier("t_" + column.name)
    value, exact = exact_cast(column, text)
    bad = identifier("bad_" + column.name)
    target = identifier("v_" + column.name)
    if column.pii == "hash":
        value = f"mask_hash({text})"
    elif column.pii == "mask":
        value = f"left({text}, 1) || '***'"
    if exact is None:
        return f"{value} as {target}, false as {bad}"
    return f"{value} as {target}, {text} is not null and not coalesce({exact}, false) as {bad}"


def exact_cast(column: Column, text: str) -> tuple[str, str | None]:
    """SQL of the typed value, and of the test that nothing was lost (None: nothing can be)."""
    if column.pii or column.type == "varchar":
        return text, None
    if column.decimal:
        precision, scale = column.decimal
        value = f"try_cast({text} as decimal({precision},{scale}))"
        return value, f"{value} is not null and {_few_decimals(text, scale)}"
    if column.type == "date":
        value = f"try_cast(rtrim({text}, 'Z') as date)"
        return value, f"cast({value} as varchar) = rtrim({text}, 'Z') and {_storable(value)}"
    if column.type == "timestamp":
        # As timestamp without zone, DuckDB would drop an offset instead of applying it.
        value = f"try_cast({text} as timestamptz)"
        return value, _storable(value)
    if column.type in ("double", "boolean"):
        value = f"try_cast({text} as {column.type})"
        return value, f"{value} is not null"
    value = f"try_cast({text} as {column.type})"
    return value, f"cast({value} as varchar) = {text}"


def _storable(value: str) -> str:
    return f"{value} >= '{FIRST_DAY}' and {value} < '{AFTER_LAST_DAY}'"


def _few_decimals(text: str, scale: int) -> str:
    """SQL: whether a number's text has no decimals beyond the scale, which a cast would round."""
    point = f"strpos({text}, '.')"
    is_short = f"{point} = 0 or length({text}) - {point} <= {scale}"
    # 1.50E+3 has two digits after the point, of which the exponent takes three; zeros do not count.
    digits = f"rtrim(split_part(lower({text}), 'e', 1), '0')"
    after_point = (
        f"(case when contains({digits}, '.') then length({digits}) - strpos({digits}, '.') "
        f"else length({digits}) - length(split_part(lower({text}), 'e', 1)) end)"
    )
    exponent = f"coalesce(try_cast(nullif(split_part(lower({text}), 'e', 2), '') as integer), 0)"
    return (
        f"case when not contains({text}, 'e') and not contains({text}, 'E') and ({is_short}) "
        f"then true when trim({digits}, '+-0.') = '' then true "
        f"else {after_point} - {exponent} <= {scale} end"
    )


def is_unavailable(column: Column, table: Table) -> str:
    """SQL: whether the source sent the marker for "unchanged, and not read from TOAST storage"."""
    marker = table.unavailable_marker
    raw = marker.encode()
    in_base64 = base64.b64encode(raw).decode()
    by_name = uuid.UUID(bytes=hashlib.md5(raw, usedforsecurity=False).digest(), version=3)
    # As text, as bytes in either form, as arrays of text, of bytes, of integers (its bytes) and of
    # UUIDs (named by it), and as the only entry of an hstore.
    forms = (
        marker,
        in_base64,
        raw.hex(),
        *(_compact(value) for value in ([marker], [in_base64], list(raw), [str(by_name)])),
        _compact({marker: marker}),
    )
    return f"coalesce({_is_one_of(identifier('s_' + column.name), forms)}, false)"


def _is_one_of(text: str, values: Iterable[str]) -> str:
    """SQL like `in`, which DuckDB would turn into a join, slower than so few comparisons."""
    return "(" + any_of(f"{text} = {literal(value)}" for value in values) + ")"


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def any_unavailable(table: Table, encoded: Collection[str], *, is_refused: bool) -> str:
    """SQL: whether the marker stands in a column that the contract does not say to expect it in.

    Args:
        is_refused: look at the columns whose type refuses the marker, so that none but rows with a
            wrong type need the look; else at those that could take it for a value.
    """

    def refuses(column: Column) -> bool:
        _, exact = exact_cast(column, "")
        return exact is not None and _encoding(column, encoded) is None

    return any_of(
        is_unavailable(column, table)
        for column in table.landed_columns
        if column.toast is None and column.name not in table.key and refuses(column) == is_refused
    )


def unavailable_reason(table: Table) -> str:
    parts = [
        f"case when {is_unavailable(column, table)} then {literal(column.name)} end"
        for column in table.landed_columns
        if column.toast is None and column.name not in table.key
    ]
    remedy = literal(": value not sent by the source; mark the column `toast: true` (or false)")
    return f"concat_ws(', ', {', '.join(parts)}) || {remedy}" if parts else "null"


def former_key(table: Table, encoded: Collection[str]) -> str:
    """SQL of the key that the row had before a change of its key, as texts in the key's order."""
    if not table.key:
        return "null::varchar[]"
    by_name = {column.name: column for column in table.columns}
    parts = []
    for name in table.key:
        paths = [literal(f'{root}"{name}"') for root in ("$.", "$.payload.")]
        told = ", ".join(f"try(json_extract_string(former_key_text, {path}))" for path in paths)
        column = by_name[name]
        plain = decoded(column, f"coalesce({told})", _encoding(column, encoded))
        value, _ = exact_cast(column, plain)
        parts.append(f"cast({value} as varchar)")
    key = f"[{', '.join(parts)}]"
    whole = "op = 'c' and former_key_text is not null"
    nulls = f"len(list_filter({key}, lambda part: part is null))"
    return f"case when {whole} and {nulls} = 0 then {key} end"


def _encoding(column: Column, encoded: Collection[str]) -> str | None:
    """SQL of a column's encoding; None where it is plain text."""
    told = literal(column.encoding) if column.encoding else None
    if column.name in encoded:
        return f"coalesce({identifier('c_' + column.name)}, {told or 'null'})"
    return told


def transaction_order(table: Table) -> str:
    """SQL of the place in the transaction: with the position, all that identifies a keyless row."""
    return "null::bigint" if table.key else "try_cast(n.transaction.total_order as bigint)"


def wrong_type_reason(table: Table) -> str:
    # Values of tables with personal data stay out of the reason: it is not sealed.
    def part(column: Column) -> str:
        value = "" if table.has_pii else f"|| left({identifier('t_' + column.name)}, 40) || ' '"
        label = literal(f"{column.name}: ")
        what = literal(f"is no {column.type}")
        return f"case when {identifier('bad_' + column.name)} then {label} {value} || {what} end"

    return f"concat_ws('; ', {', '.join(part(column) for column in table.landed_columns)})"


def any_of(conditions: Iterable[str]) -> str:
    return " or ".join(conditions) or "false"
