"""What Debezium sends of each MariaDB type, and the contract's type for it.

Measured with the connector 3.5.0 and MariaDB 10.11 under the settings that `draft_connector.py`
writes, once by a snapshot and once by changes. Where the two differ, nothing of use is sent.
"""

from __future__ import annotations

import re

from pipelines.contract import Encoding

_AS_IT_IS = None
_NO_ZONE = "the source tells no time zone: taken as UTC; 0000-00-00 is empty or 1970"
_BYTES = "bytes as base64 text"
_SHAPE = "a JSON object as text"
_PLAIN: dict[str, tuple[str, str | None]] = {
    "tinyint": ("smallint", _AS_IT_IS),
    "tinyint unsigned": ("smallint", _AS_IT_IS),
    "smallint": ("smallint", _AS_IT_IS),
    "smallint unsigned": ("integer", _AS_IT_IS),
    "mediumint": ("integer", _AS_IT_IS),
    "mediumint unsigned": ("integer", _AS_IT_IS),
    "int": ("integer", _AS_IT_IS),
    "int unsigned": ("bigint", _AS_IT_IS),
    "bigint": ("bigint", _AS_IT_IS),
    "bigint unsigned": ("decimal(20,0)", _AS_IT_IS),
    "float": ("double", _AS_IT_IS),
    "double": ("double", _AS_IT_IS),
    "year": ("smallint", "0000 is 2000 or 1900"),
    "date": ("date", "0000-00-00 is empty or 1970"),
    "datetime": ("timestamp", _NO_ZONE),
    "timestamp": ("timestamp", "0000-00-00 is empty or 1970"),
    "time": (
        "varchar",
        "no type of its own: text like 10:11:12.5Z; below zero or beyond a day it is empty",
    ),
    "char": ("varchar", "without the blanks at its end"),
    "varchar": ("varchar", _AS_IT_IS),
    "tinytext": ("varchar", _AS_IT_IS),
    "text": ("varchar", _AS_IT_IS),
    "mediumtext": ("varchar", _AS_IT_IS),
    "longtext": ("varchar", _AS_IT_IS),
    "enum": ("varchar", _AS_IT_IS),
    "set": ("varchar", "a list with commas"),
    "binary": ("varchar", _BYTES),
    "varbinary": ("varchar", _BYTES),
    "tinyblob": ("varchar", _BYTES),
    "blob": ("varchar", _BYTES),
    "mediumblob": ("varchar", _BYTES),
    "longblob": ("varchar", _BYTES),
    "point": ("varchar", _SHAPE),
    "geometry": ("varchar", _SHAPE),
}
# A value that the connector leaves empty, where the column allows none.
NEVER_EMPTY = "a time below zero or beyond a day would stop the connector, as it is `not null`"
_GREATEST_PRECISION = 38
_LITERAL = re.compile(r"'((?:[^']|'')*)'")


def base_type(name: str, declared: str) -> str:
    """The type below its width: `bigint(20) unsigned zerofill` is `bigint unsigned`.

    Args:
        name: information_schema's `data_type`.
        declared: its `column_type`.
    """
    is_whole = name.endswith("int")
    return f"{name} unsigned" if is_whole and "unsigned" in declared.lower() else name


def contract_type(
    base: str, declared: str, precision: int | None, scale: int | None
) -> tuple[str | None, str | None]:
    """The contract's type for what arrives, None where nothing of use does; and a note on it.

    Args:
        base: from `base_type`.
        declared: as the database writes the type.
        precision, scale: of a number; bits have a precision.
    """
    if base == "decimal":
        if precision is None or precision > _GREATEST_PRECISION:
            return "varchar", (
                f"more than {_GREATEST_PRECISION} digits, which no decimal holds: as text"
            )
        return f"decimal({precision},{scale})", _AS_IT_IS
    if base == "bit":
        if precision == 1:
            return "boolean", _AS_IT_IS
        return "varchar", "bits as bytes in base64, the lowest first"
    if base == "enum" and any("," in value for value in _LITERAL.findall(declared)):
        return None, "values with a comma are written differently by snapshots and changes"
    if base == "uuid":
        return None, "in changes the connector moves zero bytes at its end to the front"
    return _PLAIN.get(base, (None, "the connector has not been seen to send this type rightly"))


def encoding(base: str) -> Encoding | None:
    """How the connector writes values that are no plain text of the contract's type."""
    return "base64" if base == "bigint unsigned" else None


def why_unreadable(base: str, declared: str) -> str | None:
    """Why the connector cannot even read the definition of a table with such a column."""
    if base in ("inet4", "inet6"):
        return f"the connector cannot read definitions with {base}"
    if "compressed" in declared.lower().split("'")[0]:
        return "the connector stops at each change of a row with a compressed column"
    return None
