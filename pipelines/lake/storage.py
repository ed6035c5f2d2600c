"""Saying clearly that the disk is full or the store fails, whichever library noticed it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
from deltalake.exceptions import DeltaError

from pipelines.errors import LakehouseError, Unavailable
from pipelines.lake import object_store
from pipelines.settings import Settings

_FULL = ("no space left", "os error 28", "errno 28", "disk quota", "failed to offload data block")
_STORE = ("generic s3 error", "error interacting with object store")
_SHOWN = 300


@contextmanager
def clear_about_storage(settings: Settings) -> Iterator[None]:
    """Turn a library's error about disk or store into one with a remedy; let others pass.

    Raises:
        LakehouseError: the disk is full, or the store does not answer as it must. Nothing torn is
            visible: data files without a commit are no part of a Delta table, and the work file
            rolls back.
    """
    if settings.store:
        object_store.check(settings.store)
    with told_clearly(settings):
        yield


@contextmanager
def told_clearly(settings: Settings) -> Iterator[None]:
    """The same, without asking the store first whether it answers."""
    try:
        yield
    except Unavailable:
        raise
    except (OSError, DeltaError, duckdb.Error, LakehouseError) as error:
        told = " ".join(str(error).split())
        if any(sign in told.lower() for sign in _FULL):
            raise LakehouseError(
                f"the disk that holds {settings.home} is full",
                "free some space, then run the same command again: it continues where it stopped",
            ) from error
        if settings.store and any(sign in told.lower() for sign in _STORE):
            raise Unavailable(
                f"the store {settings.store} does not do what it is asked: {told[:_SHOWN]}",
                "look after the store, its address (AWS_ENDPOINT_URL) and keys, then run the same "
                "command again: it continues where it stopped",
            ) from error
        raise
