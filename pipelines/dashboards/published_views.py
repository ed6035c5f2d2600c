"""A DuckDB file of views: what Superset reads on one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from pipelines.dashboards import platform_tables
from pipelines.errors import LakehouseError
from pipelines.lake.extensions import extension_path
from pipelines.lake.publish import Manifest, read_manifest
from pipelines.lake.shown import make_readable
from pipelines.lake.sql import literal
from pipelines.settings import Settings

FOLDER = "dashboards"
_FILE = "published.duckdb"


def write_views(settings: Settings) -> Manifest:
    """Make the file anew: readers who have the former open end with it, new ones see the new.

    Raises:
        LakehouseError: nothing is published.
    """
    manifest = read_manifest(settings.published)
    if manifest is None:
        raise LakehouseError(
            f"nothing is published in {settings.home}", "run `lakehouse demo`, or `lakehouse run`"
        )
    folder = settings.home / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{_FILE}.new"
    draft.unlink(missing_ok=True)
    with duckdb.connect(str(draft)) as connection:
        connection.load_extension(str(extension_path("delta")))
        for name, table in manifest.tables.items():
            make_readable(connection, settings, name, table)
        show_platform_tables(connection, settings)
    draft.replace(folder / _FILE)
    _link_extension(folder)
    return manifest


def show_platform_tables(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Create a view of each table that no publication has."""
    for name, place in platform_tables.places(settings):
        schema, _, view = name.partition(".")
        connection.execute(f'create schema if not exists "{schema}"')
        scanned = f"delta_scan({literal(str(place))})"
        connection.execute(f'create view "{schema}"."{view}" as select * from {scanned}')


def database(settings: Settings) -> dict[str, Any]:
    """How Superset reaches that file."""
    folder = (settings.home / FOLDER).resolve()
    config = {
        "access_mode": "read_only",
        "autoinstall_known_extensions": "false",
        "extension_directory": str(folder / "extensions"),
        "threads": settings.threads,
        "memory_limit": settings.memory_limit,
    }
    return {
        "sqlalchemy_uri": f"duckdb:///{folder / _FILE}",
        "expose_in_sqllab": True,
        "allow_dml": False,
        "allow_ctas": False,
        "allow_cvas": False,
        "extra": {"engine_params": {"connect_args": {"config": config}}},
    }


def _link_extension(folder: Path) -> None:
    """Where DuckDB looks for the extension by itself, for Superset's environment has no wheel."""
    wheel = extension_path("delta")
    (platform,) = duckdb.sql("pragma platform").fetchone() or ("",)
    link = folder / "extensions" / f"v{duckdb.__version__}" / platform / wheel.name
    link.parent.mkdir(parents=True, exist_ok=True)
    if not (link.is_symlink() and link.readlink() == wheel):
        link.unlink(missing_ok=True)
        link.symlink_to(wheel)
