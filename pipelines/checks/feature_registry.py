"""Checks of the registry of features, a database in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from pipelines.checks.finding import Finding
from pipelines.errors import LakehouseError
from pipelines.settings import Settings

_SECONDS = 5


def check(settings: Settings) -> Iterator[Finding]:
    """Whether it answers, lets this user in, and may make the registry's tables.

    Raises:
        LakehouseError: it does not answer, or refuses.
    """
    url = settings.feature_registry
    if url is None:
        return
    try:
        import psycopg
    except ImportError:
        raise LakehouseError(
            "the package for PostgreSQL is not installed",
            "pip install 'lakehouse-platform[features-stack]'",
        ) from None
    parts = urlsplit(url)
    try:
        with psycopg.connect(url, connect_timeout=_SECONDS) as connection:
            ((database, may),) = connection.execute(
                "select current_database(), has_schema_privilege('public', 'create')"
            ).fetchall()
    except psycopg.Error as error:
        raise LakehouseError(
            f"the registry of features at {parts.hostname}:{parts.port or 5432} does not answer, "
            f"or refuses: {' '.join(str(error).split())[:300]}",
            "start its database, or correct LAKEHOUSE_FEATURE_REGISTRY",
        ) from None
    yield Finding(
        "feature registry", may, f"database {database}",
        "" if may else "let its user own the database: Feast makes the registry's tables",
    )  # fmt: skip
