"""Tables from files that somebody brings: Parquet or CSV, plain or compressed."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

from pipelines.errors import LakehouseError, UsageError

_READERS = {".parquet": "read_parquet", ".csv": "read_csv", ".csv.gz": "read_csv"}


def read_data_file(path: Path) -> pa.Table:
    """All rows of a file, in its order; types of a CSV are found by looking at it.

    Raises:
        UsageError: there is no such file, or its name tells of another kind.
        LakehouseError: it cannot be read.
    """
    readers = [reader for ending, reader in _READERS.items() if path.name.lower().endswith(ending)]
    if not readers:
        raise UsageError(f"{path} is neither .parquet nor .csv", "convert it, or rename it")
    if not path.is_file():
        raise UsageError(f"there is no file {path}", "name an existing Parquet or CSV file")
    try:
        with duckdb.connect() as connection:
            return connection.execute(f"from {readers[0]}(?)", [str(path)]).to_arrow_table()
    except duckdb.Error as error:
        told = " ".join(str(error).split())
        raise LakehouseError(
            f"{path} cannot be read: {told[:300]}",
            "check that it is whole: Parquet, or CSV with a header",
        ) from None
