"""What readers see, whichever target publishes it, made readable to DuckDB."""

from __future__ import annotations

from dataclasses import replace

import duckdb

from pipelines.errors import UsageError
from pipelines.lake.object_store import SCHEME, open_to
from pipelines.lake.publish import Manifest, Published, fingerprinted, read_manifest
from pipelines.lake.publish_on_trino import location_on_trino, shown_on_trino
from pipelines.lake.sql import literal
from pipelines.settings import EMBEDDED, Settings


def shown(settings: Settings) -> Manifest | None:
    """The publication that readers see now, None before the first one.

    Raises:
        UsageError: the target publishes nothing beside what it builds.
        LakehouseError: Trino refuses or does not answer.
    """
    if settings.target == EMBEDDED:
        return read_manifest(settings.published)
    if settings.target == "trino":
        return shown_on_trino(settings)
    raise UsageError(
        f"on {settings.target} nothing is published: readers have the tables that dbt builds",
        "name the target embedded or trino",
    )


def make_readable(
    connection: duckdb.DuckDBPyConnection, settings: Settings, name: str, table: Published
) -> Published:
    """Create the view `<schema>.<table>` over the very version that readers see.

    Args:
        name: as models are called, without a prefix of the build.
        table: of the publication.

    Returns:
        The same table, with columns and fingerprint where the publication does not keep them.

    Raises:
        LakehouseError: Trino does not tell where it lies, or the keys of its store are missing.
    """
    place = str(settings.published / table.path)
    if settings.target != EMBEDDED:
        place = location_on_trino(settings, table.path)
        if place.startswith(SCHEME):
            open_to(connection, place)
    schema, _, view = name.partition(".")
    connection.execute(f'create schema if not exists "{schema}"')
    connection.execute(
        f'create or replace view "{schema}"."{view}" as '
        f"select * from delta_scan({literal(place)}, version => {table.version})"
    )
    return table if table.parts else fingerprinted(connection, name, table)


def without_prefix(manifest: Manifest, prefix: str) -> Manifest:
    """The same publication, its tables named as models are."""
    tables = {name.removeprefix(prefix): table for name, table in manifest.tables.items()}
    return replace(manifest, tables=tables)
