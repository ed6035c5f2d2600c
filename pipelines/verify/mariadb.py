"""MariaDB as a side of the comparison: one consistent snapshot, and its SQL.

The session that `source/mariadb.py` opens has names in double quotes, and `||` joins texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pipelines.errors import UsageError
from pipelines.lake.sql import identifier
from pipelines.source import mariadb
from pipelines.source.schema import SourceColumn, SourceSchema, SourceTable
from pipelines.verify.dialect import Dialect, RowHash

# ER_SPECIFIC_ACCESS_DENIED_ERROR: a right is missing.
_NO_RIGHT = 1227

# Explicit, for texts of several collations cannot be joined.
_TEXT = "convert(%s using utf8mb4) collate utf8mb4_bin"
_MICROS = "timestampdiff(microsecond, '1970-01-01', {c})"
# The point's x, behind byte order and kind, lowest byte first: the bits of a double.
_BITS = "lpad(conv(hex(reverse(substr(st_aswkb(point(%s, 0)), 6, 8))), 16, 2), 64, '0')"
_BASE64 = "replace(to_base64(%s), char(10), '')"

_WHOLE = dict.fromkeys(
    (
        "tinyint", "tinyint unsigned", "smallint", "smallint unsigned", "mediumint",
        "mediumint unsigned", "int", "int unsigned", "bigint", "bigint unsigned", "year",
    ),
    # A sum has no zeros in front.
    "cast({c} + 0 as char)",
)  # fmt: skip
_NUMBERS = _WHOLE | {
    "decimal": "case when locate('.', {c} + 0) = 0 then cast({c} + 0 as char) else "
    "trim(trailing '.' from trim(trailing '0' from cast({c} + 0 as char))) end"
}
# What Debezium writes where the contract has a text.
_TEXTS = _WHOLE | {
    **dict.fromkeys(
        (
            "char", "varchar", "tinytext", "text", "mediumtext", "longtext", "json", "enum", "set",
        ),
        "{c}",
    ),
    **dict.fromkeys(
        ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), _BASE64 % "{c}"
    ),
    "bit": _BASE64 % "reverse(cast({c} as binary))",
    "decimal": "cast({c} + 0 as char)",
    # Beyond a day the connector sends nothing; the last moment of a day is the first one to Java.
    "time": "case when {c} < '00:00:00' or {c} > '24:00:00' then null "
    "when {c} = '24:00:00' then '00:00:00' when microsecond({c}) = 0 then left({c}, 8) "
    "else trim(trailing '0' from cast({c} as char)) end || 'Z'",
}  # fmt: skip
_BY_KIND: dict[str, dict[str, str]] = {
    "whole": _NUMBERS,
    "decimal": _NUMBERS,
    "double": {"double": _BITS % "{c}"},
    # The server tells no more of a float as text, and a snapshot reads it as such.
    "six digits": {"float": _BITS % "cast(cast(cast({c} as float) as char) as double)"},
    "boolean": {"bit": "case when {c} is not null then if({c}, 'true', 'false') end"},
    # Days that no calendar has are empty.
    "date": {
        "date": "case when timestampdiff(day, '1970-01-01', {c}) is not null "
        "then cast({c} as char) end"
    },
    "timestamp": dict.fromkeys(("datetime", "timestamp"), f"cast({_MICROS} as char)"),
    "varchar": _TEXTS,
}


def _place(order: str, bound: str, starts: Sequence[str]) -> tuple[str, list[Any]]:
    """A tree of comparisons, for nothing finds the place of any type in a list."""

    def among(first: int, last: int) -> tuple[str, list[Any]]:
        if first == last:
            return str(first), []
        middle = (first + last + 1) // 2
        below, of_below = among(first, middle - 1)
        above, of_above = among(middle, last)
        return (
            f"case when {order} < cast(%s as {bound}) then {below} else {above} end",
            [starts[middle - 1], *of_below, *of_above],
        )

    return among(0, len(starts))


MARIADB = Dialect(
    texts={
        kind: {base: _TEXT % text for base, text in texts.items()}
        for kind, texts in _BY_KIND.items()
    },
    floats={"float": "six digits"},
    row_hash=RowHash(
        length="char_length({t})",
        number="cast(conv(substr(md5({t}), 1, 15), 16, 10) as unsigned)",
    ),
    instant=_MICROS,
    whole="signed",
    # No collation, for they pass over blanks at the end.
    bytewise="cast({t} as binary)",
    bytes="binary",
    decimal="decimal(65, {scale})",
    number_bounds=dict.fromkeys(_WHOLE, "signed") | {"bigint unsigned": "unsigned"},
    place=_place,
)


class MariaDbDatabase:
    """A database of MariaDB as of one moment; see `Database`."""

    dialect = MARIADB

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._log_end = self._log_now()

    def schemas(self, names: set[str]) -> dict[str, SourceSchema]:
        ((database,),) = self.rows("select database()", [])
        if database not in names:
            raise UsageError(
                f"the URL names the database {database}, the contracts' tables are of "
                f"{', '.join(sorted(names))}",
                "name that one in the URL, or say with --server whose database this is",
            )
        return {name: mariadb.read_schema(self._cursor, name) for name in names}

    def relation(self, schema: str, table: SourceTable) -> str:
        return f"{identifier(schema)}.{identifier(table.name)}"

    def why_not(self, column: SourceColumn) -> str | None:
        return column.note if column.type is None else None

    def rows(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        self._cursor.execute(statement, parameters)
        return list(self._cursor.fetchall())

    @contextmanager
    def stream(self, statement: str, parameters: Sequence[Any]) -> Iterator[Iterator[Any]]:
        streaming = mariadb.driver().cursors.SSCursor
        with self._cursor.connection.cursor(streaming) as cursor:
            cursor.execute(statement, parameters)
            yield iter(cursor)

    def written_since(self, order_key: str) -> int | None:
        if self._log_end is None:
            return None
        # Epoch, number of the file, place in it, row, rank, offset.
        file, place = map(int, order_key.split(".")[1:3])
        last, end = self._log_end
        if file == last:
            return max(0, end - place)
        sizes = self._log_sizes()
        if file > last or any(number not in sizes for number in range(file, last)):
            return None
        return sum(sizes[number] for number in range(file, last)) - place + end

    def _log_now(self) -> tuple[int, int] | None:
        """Number of the log's file and the place in it, of the transaction's moment."""
        told = dict(self.rows("show status like 'binlog_snapshot_%%'", []))
        file = told.get("Binlog_snapshot_file")
        return (_number(file), int(told["Binlog_snapshot_position"])) if file else None

    def _log_sizes(self) -> dict[int, int]:
        """Number of a file of the log → its bytes; nothing without the right to ask."""
        try:
            files = self.rows("show binary logs", [])
        except mariadb.driver().MySQLError as error:
            if error.args[0] == _NO_RIGHT:
                return {}
            raise
        return {_number(name): int(size) for name, size, *_ in files}


def _number(file: str) -> int:
    return int(file.rpartition(".")[2])


@contextmanager
def opened(url: str) -> Iterator[MariaDbDatabase]:
    """The database of a URL; raises as `mariadb.snapshot`."""
    with mariadb.snapshot(url) as cursor:
        yield MariaDbDatabase(cursor)
