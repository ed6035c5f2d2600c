"""DuckDB, made able to read Delta without a network."""

from importlib.util import find_spec
from pathlib import Path

import duckdb

from pipelines.errors import LakehouseError
from pipelines.settings import Settings


def delta_extension_path() -> Path:
    """Find the Delta extension that the wheel `duckdb-extension-delta` brought.

    Returns:
        The extension file made for the DuckDB that runs here.

    Raises:
        LakehouseError: The wheel is missing, or made for another DuckDB.
    """
    package = find_spec("duckdb_extension_delta")
    folders = list(package.submodule_search_locations or []) if package else []
    version = f"v{duckdb.__version__}"
    for folder in folders:
        for found in sorted(Path(folder).rglob("delta.duckdb_extension")):
            if version in found.parts:
                return found
    raise LakehouseError(
        cause=f"no Delta extension for DuckDB {duckdb.__version__} is installed",
        remedy=f"install duckdb-extension-delta=={duckdb.__version__}",
    )


def load_delta(conn: duckdb.DuckDBPyConnection) -> None:
    """Load the Delta extension into a connection, by path: INSTALL would call out.

    Args:
        conn: An open connection; every later cursor of its database can use `delta_scan`.
    """
    conn.load_extension(str(delta_extension_path()))


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
    load_delta(conn)
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
