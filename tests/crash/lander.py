"""A process that has imported everything once and forks a lander for each life asked for.

Imports take longer than most lives. What they start (threads of memory allocators and of numpy)
minds a fork; DuckDB's and Delta's own threads would not, so both are first used in the child.
Requests come as JSON lines on standard input, answers go to standard output.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pandas  # noqa: F401  (deltalake and pyarrow import these when they are first needed)
import pyarrow.dataset  # noqa: F401

import pipelines.cdc.land as landing
from pipelines.cdc.capture import read_lines
from pipelines.contract import Contracts
from pipelines.errors import LakehouseError
from tests.crash import points
from tests.unit.events import NARROW, Lake

OUTRUN = 3
"""Exit code of a lander that gave up because others kept committing."""


def main() -> None:
    """Serve until standard input ends."""
    threads = _threads()
    for request in map(json.loads, sys.stdin):
        assert _threads() <= threads, (
            f"{_threads()} threads, {threads} at first: forking is not safe"
        )
        answer = {"start": _start, "wait": _wait}[request.pop("do")](**request)
        print(json.dumps(answer), flush=True)


def _threads() -> int:
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def _start(**life: Any) -> dict[str, int]:
    pid = os.fork()
    if pid == 0:
        _live(**life)
    return {"pid": pid}


def _wait(pid: int) -> dict[str, int]:
    """How the child ended, or that it has stopped itself."""
    _, status = os.waitpid(pid, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        return {"stopped": os.WSTOPSIG(status)}
    if os.WIFSIGNALED(status):
        return {"killed": os.WTERMSIG(status)}
    return {"exited": os.WEXITSTATUS(status)}


def _live(
    folder: str, block_bytes: int, point: str | None, hit: int, strike: str, inbox: str
) -> None:
    code = 1
    try:
        with Path(folder, "lives.log").open("a") as log:
            for stream in (0, 1, 2):
                os.dup2(log.fileno() if stream else os.open(os.devnull, os.O_RDONLY), stream)
        # A block is what a batch takes: small ones give a life several commits to die between.
        landing.read_lines = partial(read_lines, block_bytes=block_bytes)
        _connect_quickly()
        if point is not None:
            number = signal.Signals[strike]
            points.install(point, hit, lambda: os.kill(os.getpid(), number))
        Lake(Path(folder), Contracts([NARROW])).land(Path(inbox))
        code = 0
    except LakehouseError as error:
        print(error, file=sys.stderr)
        code = OUTRUN if "keeps committing" in error.cause else 1
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        raise
    finally:
        os._exit(code)


def _connect_quickly() -> None:
    """Spare DuckDB the check of its extension's signature, which takes longer than all the rest."""
    genuine = duckdb.connect

    def connect(config: dict[str, str]) -> duckdb.DuckDBPyConnection:
        return genuine(config=config | {"allow_unsigned_extensions": "true"})

    duckdb.connect = connect


if __name__ == "__main__":
    main()
