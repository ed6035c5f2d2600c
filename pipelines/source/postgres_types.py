"""What Debezium sends of each PostgreSQL type, and the contract's type for it.

Measured with Debezium 3.7 under the settings that `draft_connector.py` writes: decimals and times
as text, intervals in ISO 8601. A type that is not named here never arrives.
"""

from __future__ import annotations

_AS_IT_IS = None
_PLAIN: dict[str, tuple[str, str | None]] = {
    "int2": ("smallint", _AS_IT_IS),
    "int4": ("integer", _AS_IT_IS),
    "int8": ("bigint", _AS_IT_IS),
    "oid": ("bigint", _AS_IT_IS),
    "float4": ("double", _AS_IT_IS),
    "float8": ("double", _AS_IT_IS),
    "bool": ("boolean", _AS_IT_IS),
    "date": ("date", _AS_IT_IS),
    "timestamptz": ("timestamp", _AS_IT_IS),
    "timestamp": ("timestamp", "the source tells no time zone: taken as UTC"),
    "money": ("decimal(19,2)", "an amount without its currency"),
    "text": ("varchar", _AS_IT_IS),
    "varchar": ("varchar", _AS_IT_IS),
    "bpchar": ("varchar", "filled up with blanks"),
    "char": ("varchar", _AS_IT_IS),
    "citext": ("varchar", _AS_IT_IS),
    "enum": ("varchar", _AS_IT_IS),
    "uuid": ("varchar", _AS_IT_IS),
    "inet": ("varchar", _AS_IT_IS),
    "cidr": ("varchar", _AS_IT_IS),
    "macaddr": ("varchar", _AS_IT_IS),
    "macaddr8": ("varchar", _AS_IT_IS),
    "ltree": ("varchar", _AS_IT_IS),
    "json": ("varchar", "JSON as text"),
    "jsonb": ("varchar", "JSON as text"),
    "hstore": ("varchar", "a JSON object as text"),
    "xml": ("varchar", "XML as text"),
    "bytea": ("varchar", "bytes as base64 text"),
    "bit": ("varchar", "bits as bytes in base64, the lowest first"),
    "varbit": ("varchar", "bits as bytes in base64, the lowest first"),
    "time": ("varchar", "no type of its own: text like 10:11:12.5Z"),
    "timetz": ("varchar", "no type of its own: text like 10:11:12.5Z, in UTC"),
    "interval": ("varchar", "no type of its own: text like P1Y2M3DT4H5M6.7S"),
    "tsvector": ("varchar", "words as PostgreSQL writes them"),
}
_RANGES = ("int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange")
_SHAPES = ("point", "line", "box", "polygon", "circle", "geometry", "geography")
_ELEMENTS = {
    "int2", "int4", "int8", "float4", "float8", "numeric", "bool", "text", "varchar", "bpchar",
    "uuid", "enum", "date", "timestamp", "timestamptz", "jsonb", "json", "bytea",
}  # fmt: skip
# Of these a value may be too large for its row, unless its length is bounded.
_UNBOUNDED = {
    "text", "varchar", "bpchar", "citext", "json", "jsonb", "hstore", "xml", "bytea", "varbit",
    "ltree", "tsvector", "polygon", "geometry", "geography",
}  # fmt: skip
# A row is made shorter from 2 kB on; so many letters take that much alone, at four bytes each.
_LARGE_LETTERS = 500
_GREATEST_PRECISION = 38
_HEADER = 4


def contract_type(base: str, modifier: int, dimensions: int) -> tuple[str | None, str | None]:
    """The contract's type for what arrives, None where nothing of use does; and a note on it.

    Args:
        base: as `SourceColumn.base`.
        modifier: PostgreSQL's type modifier, -1 without one.
        dimensions: of an array, as declared.
    """
    if base == "numeric":
        return _numeric(modifier)
    if base == "bit" and modifier == 1:
        return "boolean", _AS_IT_IS
    if base.endswith("[]"):
        return _array(base.removesuffix("[]"), dimensions)
    if base in _RANGES:
        return "varchar", "a range as PostgreSQL writes it"
    if base in _SHAPES:
        return "varchar", "a JSON object as text"
    if base == "name":
        return None, "the connector sends values of type name in snapshots only, later none"
    return _PLAIN.get(base, (None, "the connector does not send this type"))


def is_large(base: str, modifier: int) -> bool:
    """Whether values can be so large that an update which does not touch them leaves them out."""
    if base.endswith("[]"):
        return True
    length = modifier - _HEADER if modifier != -1 else None
    return base in _UNBOUNDED and (length is None or length >= _LARGE_LETTERS)


def _numeric(modifier: int) -> tuple[str, str | None]:
    if modifier == -1:
        return "varchar", (
            "a number of any precision, kept as text; where one holds them all, say decimal(p,s)"
        )
    told = modifier - _HEADER
    precision, scale = told >> 16 & 0xFFFF, (told & 0x7FF ^ 1024) - 1024
    # A negative scale rounds before the point, one above the precision demands zeros behind it.
    whole, fraction = max(precision - scale, 0), max(scale, 0)
    if whole + fraction > _GREATEST_PRECISION:
        return "varchar", f"more than {_GREATEST_PRECISION} digits, which no decimal holds: as text"
    return f"decimal({whole + fraction},{fraction})", _AS_IT_IS


def _array(element: str, dimensions: int) -> tuple[str | None, str | None]:
    if dimensions > 1:
        return None, "the connector sends arrays of several dimensions empty"
    if element not in _ELEMENTS:
        return None, "the connector does not send this type"
    return "varchar", "a JSON array as text"
