"""Checks of the database that changes are captured from: the scheme of its URL tells which."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.checks import source_mariadb, source_postgres
from pipelines.checks.finding import Finding
from pipelines.contract import load_contracts
from pipelines.settings import Settings
from pipelines.source.reader import connector


def check(settings: Settings) -> Iterator[Finding]:
    """What the database's own module checks, where settings name one.

    Raises:
        UsageError: there is no reader for such a URL.
        LakehouseError: the database is not reached, or refuses.
    """
    if settings.source_url is None:
        return
    captured_by = connector(settings.source_url)
    contracts = load_contracts(settings.project_dir)
    contracted = [table for table in contracts.tables if table.connector == captured_by]
    checks = source_mariadb if captured_by == "mariadb" else source_postgres
    yield from checks.check(settings.source_url, contracted)
