"""What an administrator of MariaDB runs at the source: a user and its rights."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.source.drafted import DraftedSource


def statements(source: DraftedSource) -> str:
    """SQL for the client `mariadb`; the password is given as the variable `@cdc_password`."""
    return "\n".join(_lines(source)) + "\n"


def _lines(source: DraftedSource) -> Iterator[str]:
    user = _quoted(source.role)
    # In a grant on a database, _ stands for any letter.
    database = _quoted(source.database.replace("_", r"\_"))
    yield f"-- Change data capture of {source.database}: what the server must be told, once."
    yield "-- As an administrator:"
    yield """--   mariadb --init-command="set @cdc_password = '...'" < THIS_FILE"""
    yield "-- The server must write whole rows to its log: see infra/mariadb/mariadb.cnf."
    yield from (f"-- Now {note}." for note in source.notes)
    yield ""
    yield "-- The connector reads these tables and the log, and nothing else. While a snapshot"
    yield "-- begins, it stops all writes for a moment (reload), to know the place in the log."
    yield (
        f"execute immediate concat('create user {user} identified by ', "
        "if(@cdc_password <> '', quote(@cdc_password), null));"
    )
    yield f"grant replication slave, binlog monitor, reload on *.* to {user};"
    yield f"grant lock tables on {database}.* to {user};"
    for table in source.tables:
        yield f"grant select on {_quoted(source.database)}.{_quoted(table.name)} to {user};"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
