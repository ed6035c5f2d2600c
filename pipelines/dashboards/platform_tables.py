"""What the platform itself keeps of its runs: tables that no model of dbt makes.

They are no part of a publication. Who asks why nothing was published must find them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

from pipelines.cdc import ledger
from pipelines.lake.metastore import DATABASE
from pipelines.quality import books
from pipelines.settings import Settings

LEDGER = f"{DATABASE}.{ledger.FOLDER}"
RESULTS = f"quality.{books.RESULTS}"
_OWNER = "data-platform"
_TYPES = {
    pa.string(): "VARCHAR",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.bool_(): "BOOLEAN",
}


@dataclass(frozen=True)
class PlatformTable:
    """A table and the types of its columns, which datasets describe themselves."""

    description: str
    owner: str
    types: Mapping[str, str]


def platform_tables() -> dict[str, PlatformTable]:
    """By `<schema>.<table>`, as engines name them."""
    told = {
        LEDGER: ("What was read of each topic, and what became of it, by batch.", ledger.SCHEMA),
        RESULTS: ("What became of each rule of each gate.", books.RESULTS_SCHEMA),
    }
    return {
        name: PlatformTable(description, _OWNER, {f.name: _type(f.type) for f in schema})
        for name, (description, schema) in told.items()
    }


def places(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Name and folder of each that is there."""
    folders = {
        LEDGER: settings.raw / ledger.FOLDER,
        RESULTS: settings.quality / books.RESULTS,
    }
    for name, folder in folders.items():
        if DeltaTable.is_deltatable(str(folder)):
            yield name, folder


def _type(told: pa.DataType) -> str:
    return "TIMESTAMPTZ" if pa.types.is_timestamp(told) else _TYPES[told]
