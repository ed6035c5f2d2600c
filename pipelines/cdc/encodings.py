"""How converters write values that JSON has no type for, and what they mean as text.

Without schemas the contract names a column's encoding; with them each message does
(https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-data-types).
"""

from __future__ import annotations

import json
from typing import Any

from pipelines.contract import Column

# PostgreSQL's infinite times: as ISO text, and as the numbers its driver takes for them.
_INFINITE_MILLIS = (9223372036825200000, -9223372036832400000)
_INFINITE_MICROS = (9223371331200000000, -9223372036832400000)
INFINITE = (
    "infinity", "-infinity", "Infinity", "-Infinity",
    str(2**63 - 1), str(-(2**63)),
    *map(str, dict.fromkeys(_INFINITE_MILLIS + _INFINITE_MICROS)),
)  # fmt: skip
INFINITE_DAYS = (str(2**31 - 1), str(-(2**31)))
FINER_THAN_MICROS = r"\.\d{6}\d*[1-9]"

_BY_SEMANTIC_TYPE = {
    "io.debezium.time.Date": "days",
    "org.apache.kafka.connect.data.Date": "days",
    "io.debezium.time.Timestamp": "millis",
    "org.apache.kafka.connect.data.Timestamp": "millis",
    "io.debezium.time.MicroTimestamp": "micros",
    "io.debezium.time.NanoTimestamp": "nanos",
    "org.apache.kafka.connect.data.Decimal": "base64",
}


def decoded(column: Column, text: str, encoding: str | None) -> str:
    """SQL of a value's plain text.

    Args:
        text: SQL of the text as it came.
        encoding: SQL of the encoding's name; None where the text is plain already.
    """
    if encoding is None:
        return text
    cases = {}
    if column.type == "date":
        cases = {
            "days": f"cast(date '1970-01-01' + try_cast({text} as integer) as varchar)",
            **{
                name: f"cast(cast({instant} as date) as varchar)"
                for name, instant in _instants(text).items()
            },
        }
    elif column.type == "timestamp":
        cases = {
            "days": f"cast(date '1970-01-01' + try_cast({text} as integer) as varchar)",
            **{name: f"cast({instant} as varchar)" for name, instant in _instants(text).items()},
        }
    elif column.decimal:
        cases = {"base64": _unscaled(text, column.decimal[1], encoding)}
    if not cases:
        return text
    # A text that its encoding cannot read stays as it is: typing will refuse it by name.
    branches = " ".join(
        f"when {encoding} {'like' if name == 'base64' else '='} "
        f"'{name}{'%' if name == 'base64' else ''}' then coalesce(try({sql}), {text})"
        for name, sql in cases.items()
    )
    return f"case {branches} else {text} end"


def _instants(text: str) -> dict[str, str]:
    number = f"try_cast({text} as bigint)"
    return {
        "millis": f"make_timestamptz({number} * 1000)",
        "micros": f"make_timestamptz({number})",
        # Towards the past, so that an instant never moves into the next microsecond.
        "nanos": f"make_timestamptz(cast(floor({number} / 1000::decimal(20,4)) as bigint))",
    }


def _unscaled(text: str, scale: int, encoding: str) -> str:
    """SQL of the decimal text of an unscaled number: two's complement, big-endian, in base64.

    An encoding `base64:4` names the scale of the message; else it is the contract's.
    """
    # DuckDB may take from_base64 out of a TRY, so that it must never see what it cannot read.
    # 22 digits are the 16 bytes that the largest decimal takes.
    whole = f"length({text}) % 4 = 0 and regexp_full_match({text}, '[A-Za-z0-9+/]{{2,22}}={{0,2}}')"
    bits = f"cast(cast(from_base64(case when {whole} then {text} end) as bit) as varchar)"
    number = f"cast(cast(lpad({bits}, 128, left({bits}, 1)) as bit) as hugeint)"
    own_scale = f"coalesce(try_cast(split_part({encoding}, ':', 2) as integer), {scale})"
    digits = f"cast(abs({number}) as varchar)"
    width = f"cast(greatest({own_scale} + 1, length({digits})) as integer)"
    padded = f"lpad({digits}, {width}, '0')"
    sign = f"case when {number} < 0 then '-' else '' end"
    return (
        f"{sign} || case when {own_scale} = 0 then {padded} "
        f"when {own_scale} < 0 then {digits} || repeat('0', -{own_scale}) else "
        f"left({padded}, length({padded}) - {own_scale}) || '.' || right({padded}, {own_scale}) end"
    )


def encodings_of(schema: str) -> dict[str, str]:
    """The encoding of each column by the schema that a message carries; plain ones are left out.

    Args:
        schema: JSON text below `schema` of a message of JsonConverter; an envelope or a flat row.
    """
    try:
        return _encodings_of(json.loads(schema)["fields"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        # No schema as a converter writes it: values are taken as plain text, and typed as such.
        return {}


def _encodings_of(fields: list[dict[str, Any]]) -> dict[str, str]:
    images = [field for field in fields if field.get("field") in ("after", "before")]
    found: dict[str, str] = {}
    for image in images or [{"fields": fields}]:
        for field in image["fields"]:
            name = _BY_SEMANTIC_TYPE.get(field.get("name") or "")
            if name == "base64":
                name = f"base64:{field.get('parameters', {}).get('scale', '')}"
            if name:
                found[str(field["field"])] = name
    return found
