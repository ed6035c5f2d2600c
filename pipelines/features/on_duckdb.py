"""The published feature tables of a home, read by DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from pipelines.errors import LakehouseError
from pipelines.features.rows import Tables
from pipelines.lake.duck import connect
from pipelines.lake.publish import Manifest
from pipelines.lake.sql import literal
from pipelines.settings import Settings


@contextmanager
def embedded_tables(settings: Settings, manifest: Manifest) -> Iterator[Tables]:
    """The tables of a manifest, while a connection is open."""
    with connect(settings) as connection:
        yield _Embedded(connection, settings.published, manifest)


def scan_of(path: Path, version: int) -> str:
    """What DuckDB selects from, for one version of a Delta table."""
    return f"delta_scan({literal(str(path))}, version => {version})"


class _Embedded:
    def __init__(
        self, connection: duckdb.DuckDBPyConnection, published: Path, manifest: Manifest
    ) -> None:
        self._connection = connection
        self._published = published
        self._manifest = manifest

    def scan(self, table: str, version: int) -> str:
        return scan_of(self._published / self._manifest.tables[table].path, version)

    def hold(self, name: str, query: str) -> str:
        self._execute(f"create or replace temp table {name} as {query}")
        return name

    def fetch(self, query: str, schema: pa.Schema) -> pa.Table:
        return self._execute(query).to_arrow_table().select(schema.names).cast(schema)

    def _execute(self, query: str) -> duckdb.DuckDBPyConnection:
        try:
            return self._connection.execute(query)
        except duckdb.Error as error:
            raise LakehouseError(
                f"published features cannot be read: {error}", "run `lakehouse run` again"
            ) from None
