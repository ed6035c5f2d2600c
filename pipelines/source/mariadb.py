"""Reading the schema of a MariaDB database from information_schema: no table is scanned.

All is read in one consistent snapshot, within which `verify` reads tables, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from pipelines.errors import LakehouseError, UsageError
from pipelines.source.mariadb_types import (
    NEVER_EMPTY,
    base_type,
    contract_type,
    encoding,
    why_unreadable,
)
from pipelines.source.schema import PLAIN_NAME, SourceColumn, SourceSchema, SourceTable

_OLDEST = (10, 5)
_PORT = 3306
_CONNECT_SECONDS, _CATALOG_SECONDS, _LOCK_SECONDS = 10, 30, 5
# More than a key can have: what sorts is compared as a whole.
_SORTED_BYTES = 8192
_SYSTEM = ("information_schema", "mysql", "performance_schema", "sys")
_KINDS = {
    "VIEW": "it is a view, which has no changes of its own",
    "SEQUENCE": "it is a sequence",
    "SYSTEM VERSIONED": "it is system-versioned, which has not been tried",
}
_WANTED = {"log_bin": ("1",), "binlog_format": ("ROW",), "binlog_row_image": ("FULL",)}

_TABLES = """
select table_name, table_type, engine, nullif(table_comment, '')
from information_schema.tables
where table_schema = %s
order by table_name
"""
_COLUMNS = """
select table_name, column_name, column_type, data_type, numeric_precision, numeric_scale,
    is_nullable = 'YES', nullif(column_comment, '')
from information_schema.columns
where table_schema = %s
order by table_name, ordinal_position
"""
# What identifies a row: the primary key, else a unique index that no row can escape.
_KEYS = """
select table_name, index_name, group_concat(column_name order by seq_in_index separator '\\n')
from information_schema.statistics
where table_schema = %s and non_unique = 0
group by table_name, index_name
having sum(nullable = 'YES') = 0
order by table_name, index_name <> 'PRIMARY', count(*), index_name
"""
_CASCADES = """
select table_name, constraint_name
from information_schema.referential_constraints
where constraint_schema = %s
    and (delete_rule in ('CASCADE', 'SET NULL') or update_rule in ('CASCADE', 'SET NULL'))
order by table_name, constraint_name
"""


@dataclass(frozen=True)
class LogSetting:
    """How the server writes its log, in one respect; the remedy is empty when all is well."""

    name: str
    value: str
    remedy: str


@contextmanager
def snapshot(url: str) -> Iterator[Any]:
    """A cursor in one read-only transaction, all of whose rows are of its beginning.

    The URL's database is its own. Names stand in double quotes, `||` joins texts, times are UTC.

    Args:
        url: mariadb://user@host:3306/database; a password that it does not tell is `MYSQL_PWD`.

    Raises:
        UsageError: the URL tells no database, or more than these.
        LakehouseError: the driver is missing, or the database refuses something.
    """
    told = _connection_of(url)
    pymysql = driver()
    try:
        connection = pymysql.connect(charset="utf8mb4", connect_timeout=_CONNECT_SECONDS, **told)
        with connection, connection.cursor() as cursor:
            _refuse_others(cursor)
            # How values are written must not depend on the server that is asked.
            cursor.execute(
                "set session sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT', time_zone = '+00:00', "
                f"lock_wait_timeout = {_LOCK_SECONDS}, group_concat_max_len = 1000000, "
                f"max_sort_length = {_SORTED_BYTES}"
            )
            cursor.execute("set session transaction isolation level repeatable read")
            cursor.execute("start transaction with consistent snapshot, read only")
            yield cursor
    except pymysql.MySQLError as error:
        raise LakehouseError(
            f"the database refuses: {' '.join(str(error.args[-1]).split())}",
            "check the URL, the password and the rights",
        ) from None


def _connection_of(url: str) -> dict[str, Any]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError(
            "the URL cannot be read",
            "give one like mariadb://user@host:3306/database, with odd letters as %..",
        ) from None
    database = unquote(parts.path.removeprefix("/"))
    if not database or "/" in database or parts.query or parts.fragment:
        raise UsageError(
            "the URL must name a database, and nothing behind it",
            "give one like mariadb://user@host:3306/database",
        )
    password = os.environ.get("MYSQL_PWD", "") if parts.password is None else parts.password
    return {
        "host": parts.hostname or "localhost",
        "port": port or _PORT,
        "user": unquote(parts.username or ""),
        "password": password if parts.password is None else unquote(password),
        "database": database,
    }


def driver() -> Any:
    """The package pymysql.

    Raises:
        LakehouseError: it is missing.
    """
    try:
        import pymysql
        import pymysql.cursors
    except ImportError:
        raise LakehouseError(
            "pymysql is not installed", "pip install 'lakehouse-platform[mariadb]'"
        ) from None
    return pymysql


def _refuse_others(cursor: Any) -> None:
    cursor.execute("select version()")
    ((version,),) = cursor.fetchall()
    if "mariadb" not in version.lower():
        raise LakehouseError(
            f"the database is MySQL {version}; only MariaDB is read",
            "the connector is one for MariaDB",
        )
    number = tuple(int(part) for part in version.split("-")[0].split(".")[:2])
    if number < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise LakehouseError(
            f"the database is MariaDB {version}; {oldest} is the oldest that is read",
            "use a newer server",
        )


def read_schema(cursor: Any, database: str | None = None) -> SourceSchema:
    """Read tables, columns and keys of a database.

    Args:
        cursor: from `snapshot`.
        database: None: the one that the URL names.

    Raises:
        UsageError: its name cannot be part of a topic, or it is the server's own.
    """
    if database is None:
        ((database,),) = _rows(cursor, "select database()")
    if not PLAIN_NAME.fullmatch(database) or database.lower() in _SYSTEM:
        raise UsageError(
            f"database {database!r} cannot be captured",
            "name one of your own, whose name has only letters, digits and _",
        )
    # The user's own limit holds again for what follows.
    ((limit,),) = _rows(cursor, "select @@session.max_statement_time")
    cursor.execute("set session max_statement_time = %s", [_CATALOG_SECONDS])
    rows = _rows(cursor, _TABLES, database)
    columns, unreadable = _columns(cursor, database)
    skipped = {name: why for name, kind, *_ in rows if (why := _KINDS.get(kind))} | unreadable
    keys: dict[str, tuple[str, tuple[str, ...]]] = {}
    for table, index, names in _rows(cursor, _KEYS, database):
        keys.setdefault(table, (index, tuple(names.split("\n"))))
    cascades: dict[str, list[str]] = {}
    for table, constraint in _rows(cursor, _CASCADES, database):
        cascades.setdefault(table, []).append(constraint)
    tables = [
        _table(name, engine, comment, columns[name], keys.get(name), cascades.get(name, []))
        for name, _, engine, comment in rows
        if name not in skipped
    ]
    notes = tuple(_notes(cursor, unreadable))
    cursor.execute("set session max_statement_time = %s", [limit])
    return SourceSchema(
        connector="mariadb",
        database=database,
        name=database,
        tables=tuple(tables),
        skipped=skipped,
        notes=notes,
        has_unreadable=bool(unreadable),
    )


def _rows(cursor: Any, statement: str, *parameters: str) -> list[Any]:
    cursor.execute(statement, parameters)
    return list(cursor.fetchall())


def _columns(cursor: Any, database: str) -> tuple[dict[str, list[SourceColumn]], dict[str, str]]:
    """Table → its columns; and table → why the connector cannot read its definition."""
    found: dict[str, list[SourceColumn]] = {}
    unreadable: dict[str, str] = {}
    for table, name, declared, kind, precision, scale, is_nullable, comment in _rows(
        cursor, _COLUMNS, database
    ):
        base = base_type(kind, declared)
        if why := why_unreadable(base, declared):
            unreadable[table] = f"its column {name}: {why}"
        data_type, note = contract_type(base, declared, precision, scale)
        if base == "time" and not is_nullable:
            data_type, note = None, NEVER_EMPTY
        found.setdefault(table, []).append(
            SourceColumn(name, declared, base, data_type, note, comment, encoding=encoding(base))
        )
    return found, unreadable


def _table(
    name: str,
    engine: str,
    comment: str | None,
    columns: list[SourceColumn],
    key: tuple[str, tuple[str, ...]] | None,
    cascades: list[str],
) -> SourceTable:
    index, names = key if key is not None else (None, ())
    notes = [
        f"what the foreign key {constraint} changes by itself is not in the log: such rows stay"
        for constraint in cascades
    ]
    if engine != "InnoDB":
        notes.append(f"its engine is {engine}: a snapshot may not be of one moment")
    return SourceTable(
        name=name,
        columns=tuple(columns),
        key=names,
        key_index=None if index == "PRIMARY" else index,
        comment=comment,
        notes=tuple(notes),
    )


def log_settings(cursor: Any) -> Iterator[LogSetting]:
    """What of the server decides whether changes can be captured.

    Args:
        cursor: from `snapshot`.
    """
    for name, wanted in _WANTED.items():
        ((value,),) = _rows(cursor, f"select @@global.{name}")
        told = "ON" if name == "log_bin" else wanted[0]
        fits = str(value).upper() in wanted
        yield LogSetting(
            name, str(value), "" if fits else f"set it to {told} and restart the server"
        )


def _notes(cursor: Any, unreadable: dict[str, str]) -> Iterator[str]:
    """What must be changed at the server before changes can be captured."""
    for setting in log_settings(cursor):
        if setting.remedy:
            yield f"{setting.name} is {setting.value}: {setting.remedy}"
    for table, why in unreadable.items():
        yield f"{table} can stop the capture of all others ({why}): alter it, or leave it alone"
