"""Checks of Hive Metastore."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.checks.finding import Finding
from pipelines.lake.metastore import DATABASE, connected
from pipelines.settings import Settings


def check(settings: Settings) -> Iterator[Finding]:
    """Whether it answers, and what it knows of the raw tables.

    Raises:
        LakehouseError: it does not answer, or refuses.
    """
    if settings.metastore is None:
        return
    with connected(settings.metastore) as (client, _):
        known = DATABASE in client.get_all_databases()
        tables = client.get_all_tables(DATABASE) if known else []
    yield Finding("metastore", True, f"{len(tables)} raw tables; a landing registers what lacks")
