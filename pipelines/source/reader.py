"""Which database a URL is of, and reading its schema: the scheme tells."""

from __future__ import annotations

from pipelines.contract import Connector
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
    if connector(url) == "postgres":
        with postgres.snapshot(url) as connection:
            return postgres.read_schema(connection, schema or _DEFAULT_SCHEMA)
    if schema is not None:
        raise UsageError(
            "MariaDB has no schemas within a database",
            "leave --schema out; the URL names the database",
        )
    with mariadb.snapshot(url) as cursor:
        return mariadb.read_schema(cursor)


def connector(url: str) -> Connector:
    """The connector for the database of a URL; many programs call MariaDB mysql.

    Raises:
        UsageError: no reader for such a URL. Nothing of it is told but its scheme.
    """
    scheme, separator, _ = url.partition("://")
    if scheme in ("postgresql", "postgres"):
        return "postgres"
    if scheme in ("mariadb", "mysql"):
        return "mariadb"
    raise UsageError(
        # What is no scheme may be a part of something secret.
        f"no reader for {f'{scheme} databases' if separator and scheme.isalnum() else 'this'}: "
        "PostgreSQL and MariaDB can be read so far",
        "give a URL like postgresql://user@host:5432/database or mariadb://user@host:3306/database",
    )
