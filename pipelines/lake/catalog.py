"""What a reader sees: published tables by the manifest, raw tables, and staging between runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
from deltalake import DeltaTable

from pipelines.cdc import dead_letters, ledger, resolutions
from pipelines.contract import Contracts
from pipelines.errors import LakehouseError, UsageError
from pipelines.lake import lock
from pipelines.lake.duck import connect
from pipelines.lake.inference import SCHEMAS, inference_path
from pipelines.lake.publish import read_manifest
from pipelines.settings import Settings

_WORK_SCHEMAS = ("staging", "intermediate", "state")
# Results of all gates, and the rows that fail one now.
QUALITY_TABLES = ("results", "quarantine")
_BOOKS = (ledger.FOLDER, dead_letters.FOLDER, resolutions.FOLDER)
_MENTIONS_WORK = re.compile(rf"\b({'|'.join(_WORK_SCHEMAS)})\s*\.", re.IGNORECASE)


@contextmanager
def reader(
    settings: Settings, contracts: Contracts, sql: str = "", wait_seconds: float = 0.0
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with views over all that may be read; nothing in it can be written to the lake.

    The work file is opened only if the query names one of its schemas, and never during a run.

    Raises:
        LakehouseError: there is no lake yet, or staging is asked for while a run is on.
    """
    if not settings.home.is_dir():
        raise LakehouseError(
            f"there is no lake in {settings.home}",
            "run `lakehouse demo` first, or name another with --home",
        )
    with connect(settings) as connection:
        create_published_views(connection, settings.published)
        _create_raw_views(connection, settings.raw, contracts)
        create_quality_views(connection, settings.quality)
        if not _MENTIONS_WORK.search(sql):
            yield connection
            return
        try:
            with lock.shared(settings.state, wait_seconds):
                _create_work_views(connection, settings.warehouse)
                yield connection
        except lock.Busy as busy:
            raise LakehouseError(
                f"staging cannot be read now: {busy.cause}",
                "ask again with --wait, or read the published schema marts, which never waits",
            ) from None


def only_reads(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse all but one statement that reads.

    Raises:
        UsageError: it writes, or there are several statements, or none.
    """
    statements = connection.extract_statements(sql)
    reading = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
    if len(statements) != 1 or statements[0].type not in reading:
        raise UsageError(
            "the lake is read-only for queries, and takes one at a time",
            "write a single SELECT, SHOW, DESCRIBE, SUMMARIZE or EXPLAIN",
        )


def create_published_views(connection: duckdb.DuckDBPyConnection, published: Path) -> None:
    """Views `<schema>.<table>` over the very versions that the manifest names."""
    manifest = read_manifest(published)
    connection.execute("create schema if not exists marts")
    for name, table in manifest.tables.items() if manifest else ():
        schema, _, view = name.partition(".")
        connection.execute(f'create schema if not exists "{schema}"')
        _view(connection, schema, view, published / table.path, table.version)


def _create_raw_views(
    connection: duckdb.DuckDBPyConnection, raw: Path, contracts: Contracts
) -> None:
    connection.execute("create schema raw")
    paths = {table.sql_name: raw / table.topic for table in contracts.tables}
    paths |= {name: raw / name for name in _BOOKS}
    paths |= {f"inference_{name}": inference_path(raw, name) for name in SCHEMAS}
    for name, path in paths.items():
        if DeltaTable.is_deltatable(str(path)):
            _view(connection, "raw", name, path, None)


def create_quality_views(connection: duckdb.DuckDBPyConnection, quality: Path) -> None:
    """Views over what the gates found, of the last run, published or not."""
    for name in QUALITY_TABLES:
        if DeltaTable.is_deltatable(str(quality / name)):
            connection.execute("create schema if not exists quality")
            _view(connection, "quality", name, quality / name, None)


def _view(
    connection: duckdb.DuckDBPyConnection, schema: str, name: str, path: Path, version: int | None
) -> None:
    place = str(path).replace("'", "''")
    pinned = "" if version is None else f", version => {version}"
    connection.execute(
        f"""create view "{schema}"."{name}" as select * from delta_scan('{place}'{pinned})"""
    )


def _create_work_views(connection: duckdb.DuckDBPyConnection, warehouse: Path) -> None:
    if not warehouse.exists():
        raise LakehouseError("nothing is staged yet", "run `lakehouse run` first")
    place = str(warehouse).replace("'", "''")
    connection.execute(f"attach '{place}' as warehouse (read_only)")
    schemas = ", ".join(f"'{schema}'" for schema in _WORK_SCHEMAS)
    found = connection.execute(
        f"""select table_schema, table_name from information_schema.tables
            where table_catalog = 'warehouse' and table_schema in ({schemas})"""
    ).fetchall()
    for schema, name in found:
        connection.execute(f'create schema if not exists "{schema}"')
        connection.execute(
            f'create view "{schema}"."{name}" as select * from warehouse."{schema}"."{name}"'
        )
