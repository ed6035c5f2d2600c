"""DuckDB, made able to read Delta without a network."""

from __future__ import annotations

import duckdb

from pipelines.errors import LakehouseError
from pipelines.lake import object_store
from pipelines.lake.extensions import extension_path
from pipelines.settings import Settings


def load_delta(conn: duckdb.DuckDBPyConnection, store: str | None = None) -> None:
    """Make Delta tables readable to a connection, and to every later cursor of its database.

    Args:
        store: the S3 store in which they lie; None where they lie on disk.
    """
    conn.load_extension(str(extension_path("delta")))
    if store:
        object_store.open_to(conn, store)


def connect(settings: Settings) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB that reads Delta, keeps UTC and spills into the lake's own folder."""
    settings.scratch.mkdir(parents=True, exist_ok=True)
    conn = duckdb.connect(
        config={
            "threads": str(settings.threads),
            "memory_limit": settings.memory_limit,
            "temp_directory": str(settings.scratch),
            "autoinstall_known_extensions": "false",
        }
    )
    conn.execute("set TimeZone = 'UTC'")
    load_delta(conn, settings.store)
    return conn


def connect_warehouse(settings: Settings, *, read_only: bool = True) -> duckdb.DuckDBPyConnection:
    """The same, with dbt's work file as the database in use.

    Raises:
        LakehouseError: another process has the file open, or it cannot be read.
    """
    conn = connect(settings)
    place = str(settings.warehouse).replace("'", "''")
    access = "(read_only)" if read_only else ""
    try:
        conn.execute(f"attach '{place}' as warehouse {access}; use warehouse")
    except duckdb.IOException as error:
        conn.close()
        raise LakehouseError(
            f"{settings.warehouse} cannot be opened: {error}",
            "end what has it open (a dbt or DuckDB of somebody), then try again",
        ) from None
    return conn
