"""One writer at a time: locks on the lake's home, held by the kernel, thus never left behind."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.errors import Unavailable
from pipelines.lake.ids import now

_POLL_SECONDS = 0.2
RUN = "run"
MAINTENANCE = "maintain"


class Busy(Unavailable):
    """Somebody else holds the lake."""


@contextmanager
def exclusive(
    state: Path, command: str, wait_seconds: float = 5.0, *, name: str = RUN
) -> Iterator[None]:
    """Hold the lake for a run; short readers of staging are waited for.

    Args:
        name: which lock; maintenance has one of its own, which keeps away nothing but maintenance.

    Raises:
        Busy: somebody else holds that lock; names pid, command and start.
    """
    with _opened(state, name) as handle:
        _acquire(handle, fcntl.LOCK_EX, state, wait_seconds, name)
        owner = {"pid": os.getpid(), "command": command, "started_at": now().isoformat()}
        _owner_file(state, name).write_text(json.dumps(owner))
        try:
            yield
        finally:
            _owner_file(state, name).unlink(missing_ok=True)


@contextmanager
def shared(state: Path, wait_seconds: float = 0.0) -> Iterator[None]:
    """Keep runs away from the work file while it is read.

    Raises:
        Busy: a run is on.
    """
    with _opened(state) as handle:
        _acquire(handle, fcntl.LOCK_SH, state, wait_seconds)
        # Whatever a killed run left there would name the wrong holder of the lock.
        _owner_file(state).unlink(missing_ok=True)
        yield


def owner(state: Path) -> dict[str, str] | None:
    """Who runs now (pid, command, started_at), None when nobody does."""
    with _opened(state) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read_owner(state)
    return None


def _owner_file(state: Path, name: str = RUN) -> Path:
    return state / f"{name}.owner.json"


def _read_owner(state: Path, name: str = RUN) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(_owner_file(state, name).read_text())
    except (FileNotFoundError, ValueError):
        # A reader holds the lock, or the owner is just about to write its name.
        return {"pid": "unknown", "command": "a query of staging", "started_at": "a moment ago"}
    return found


@contextmanager
def _opened(state: Path, name: str = RUN) -> Iterator[int]:
    state.mkdir(parents=True, exist_ok=True)
    handle = os.open(state / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield handle
    finally:
        os.close(handle)


def _acquire(handle: int, mode: int, state: Path, wait_seconds: float, name: str = RUN) -> None:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(handle, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
                continue
            who = _read_owner(state, name)
            raise Busy(
                f"{who['command']} is running in {state.parent} "
                f"(pid {who['pid']}, since {who['started_at']})",
                "wait until it has ended; if it hangs, end that process",
            ) from None
        return
