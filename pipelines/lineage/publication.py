"""What a publication wrote: a table is one dataset, as built and as published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.lake.publish import Manifest
from pipelines.lineage import facets, names
from pipelines.lineage.events import Dataset
from pipelines.settings import EMBEDDED, Settings


def written(manifest: Manifest, settings: Settings, namespace: str, run_id: str) -> list[Dataset]:
    """The tables that this run has written anew, with their Delta versions."""
    found = []
    for name, table in manifest.tables.items():
        if table.run_id != run_id:
            continue
        columns = dict(_name_and_type(column) for column in table.columns)
        about: dict[str, Mapping[str, Any]] = {
            "schema": facets.schema(columns),
            "version": facets.version(str(table.version)),
        }
        if settings.target == EMBEDDED:
            about |= names.delta(settings.published / table.path)
        rows = {"outputStatistics": facets.rows_written(table.rows)}
        found.append(Dataset(namespace, name, about, rows))
    return found


def _name_and_type(column: str) -> tuple[str, str]:
    name, _, kind = column.partition(" ")
    return name, kind
