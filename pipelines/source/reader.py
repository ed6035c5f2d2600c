"""Which reader reads a database's schema: the scheme of its URL tells."""

from __future__ import annotations

from pipelines.errors import UsageError
from pipelines.source import mariadb, postgres
from pipelines.source.schema import SourceSchema

_DEFAULT_SCHEMA = "public"


def read_schema(url: str, schema: str | None = None) -> SourceSchema:
    """Read tables, columns and keys of a database.

    Args:
        url: postgresql://… or mariadb://… (mysql://…).
        schema: of PostgreSQL; None: `public`.

    Raises:
        UsageError: no reader for such a URL, or there is no such schema.
        LakehouseError: a driver is missing, or the database refuses something.
    """
    if is_postgres(url):
        with postgres.snapshot(url) as connection:
            return postgres.read_schema(connection, schema or _DEFAULT_SCHEMA)
    if is_mariadb(url):
        if schema is not None:
            raise UsageError(
                "MariaDB has no schemas within a database",
                "leave --schema out; the URL names the database",
            )
        with mariadb.session(url) as cursor:
            return mariadb.read_schema(cursor)
    raise UsageError(
        f"no reader for {kind(url)}: PostgreSQL and MariaDB can be read so far",
        "give a URL like postgresql://user@host:5432/database or mariadb://user@host:3306/database",
    )


def is_postgres(url: str) -> bool:
    """Whether the URL is one of PostgreSQL."""
    return _scheme(url) in ("postgresql", "postgres")


def is_mariadb(url: str) -> bool:
    """Whether the URL is one of MariaDB, which many programs call mysql."""
    return _scheme(url) in ("mariadb", "mysql")


def kind(url: str) -> str:
    """What a URL is of, for messages; nothing secret is in it."""
    return f"{_scheme(url)} databases" if "://" in url else "this"


def _scheme(url: str) -> str:
    return url.partition("://")[0]
