"""Saying clearly that the disk is full, whichever library noticed it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
from deltalake.exceptions import DeltaError

from pipelines.errors import LakehouseError

_SIGNS = ("no space left", "os error 28", "errno 28", "disk quota", "failed to offload data block")


@contextmanager
def clear_about_disk(home: Path) -> Iterator[None]:
    """Turn a library's full-disk error into one with a remedy; let every other error pass.

    Raises:
        LakehouseError: the disk is full. Nothing torn is visible: data files without a commit are
            no part of a Delta table, and the work file rolls back.
    """
    try:
        yield
    except (OSError, DeltaError, duckdb.Error, LakehouseError) as error:
        if not any(sign in str(error).lower() for sign in _SIGNS):
            raise
        raise LakehouseError(
            f"the disk that holds {home} is full",
            "free some space, then run the same command again: it continues where it stopped",
        ) from error
