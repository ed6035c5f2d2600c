"""DuckDB's extensions, which come as Python wheels: INSTALL would call out."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import duckdb

from pipelines.errors import LakehouseError


def extension_path(name: str) -> Path:
    """Find the extension that the wheel `duckdb-extension-<name>` brought.

    Returns:
        The file made for the DuckDB that runs here.

    Raises:
        LakehouseError: the wheel is missing, or made for another DuckDB.
    """
    package = find_spec(f"duckdb_extension_{name}")
    folders = list(package.submodule_search_locations or []) if package else []
    version = f"v{duckdb.__version__}"
    for folder in folders:
        for found in sorted(Path(folder).rglob(f"{name}.duckdb_extension")):
            if version in found.parts:
                return found
    raise LakehouseError(
        cause=f"no {name} extension for DuckDB {duckdb.__version__} is installed",
        remedy=f"install duckdb-extension-{name}=={duckdb.__version__}",
    )
