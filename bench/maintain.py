"""File geometry after many micro-batches, before and after `lakehouse maintain`."""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import structlog

from bench.measure import MIB, size, table
from pipelines.cdc import books
from pipelines.cdc.land import opened
from pipelines.contract import Contracts
from pipelines.lake.duck import connect
from pipelines.lake.ids import new_run_id
from pipelines.maintain import geometry, kept, maintain, targets
from tests.unit.events import THING, TOPIC, Lake, things

ROWS = 20
ROUNDS = 5
HEADER = ["state", "table", "files read", "files on disk", "MiB on disk", "log entries",
          "DuckDB reads it, ms", "ledger opened, ms", "a batch lands, ms"]  # fmt: skip


def main() -> None:
    """Print how the tables lie on disk and what reading them costs.

    The environment variable BENCH_BATCHES asks for another number of batches than 1,000.
    """
    batches = size("BENCH_BATCHES", 1_000)
    # Landing logs a line a batch.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    folder = Path(tempfile.mkdtemp(prefix="bench-maintain-"))
    try:
        lake = Lake(folder, Contracts([THING]))
        few = max(1, min(50, batches // 4))
        landed = _land(lake, 0, batches)
        rows = _measured(lake, "no maintenance", landed[-few:])
        took = _maintain(lake, kept(168))
        after = _land(lake, batches, few)
        _maintain(lake, kept(168))
        rows += _measured(lake, "maintained", after)
        # What a week makes of it: whatever was replaced is older than what is kept.
        _maintain(lake, timedelta(0))
        rows += _measured(lake, "maintained a week later", [])
        table(f"File geometry after {batches:,} micro-batches of {ROWS} messages", HEADER, rows)
        print(
            f"\n`lakehouse maintain` took {took:.1f} s. The first {few} batches took "
            f"{statistics.median(landed[:few]):.0f} ms each (median)."
        )
    finally:
        shutil.rmtree(folder)


class _Things:
    """The messages of one micro-batch, as a stream brings them."""

    def __init__(self, first: int) -> None:
        self._messages = [json.loads(line) for line in things(first, first + ROWS - 1)]

    def __len__(self) -> int:
        return len(self._messages)

    def table(self) -> pa.Table:
        types = {"partition": pa.int32(), "offset": pa.int64(), "key": pa.large_binary(),
                 "payload": pa.large_binary()}  # fmt: skip
        columns = {
            name: pa.array([message[name] for message in self._messages]).cast(type_)
            for name, type_ in types.items()
        }
        return pa.table(columns | {"former_key": pa.nulls(len(self), pa.string())})

    def line_of(self, partition: int, offset: int) -> str:
        return json.dumps(self._messages[offset - self._messages[0]["offset"]])


def _land(lake: Lake, first: int, batches: int) -> list[float]:
    """Land one micro-batch after another in one process; returns milliseconds of each."""
    spent = []
    with opened(lake.contracts, lake.settings, new_run_id()) as landing:
        for number in range(first, first + batches):
            started = time.perf_counter()
            landing.land_messages(TOPIC, "bench", _Things(number * ROWS))
            spent.append((time.perf_counter() - started) * 1000)
    return spent


def _maintain(lake: Lake, keep: timedelta) -> float:
    started = time.perf_counter()
    maintain(lake.settings, targets(lake.settings, lake.contracts), new_run_id(), keep=keep)
    return time.perf_counter() - started


def _measured(lake: Lake, state: str, landed: list[float]) -> list[list[object]]:
    opening = _median(lambda: books.open_ledger(lake.raw, lake.contracts))
    rows: list[list[object]] = []
    for folder in (TOPIC, "_ledger"):
        path = lake.raw / folder
        found = geometry(path)
        on_disk = [file for file in path.rglob("*.parquet") if "_delta_log" not in file.parts]
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / MIB
        cells = [state, folder, found.files, len(on_disk), size, found.log_entries]
        batch = f"{statistics.median(landed):.0f}" if landed else ""
        of_landing = [f"{opening:.0f}", batch]
        times = [f"{_read(lake, path):.0f}", *(of_landing if folder == "_ledger" else ["", ""])]
        rows.append([*cells, *times])
    return rows


def _read(lake: Lake, path: Path) -> float:
    with connect(lake.settings) as connection:
        whole = f"select columns(*)::varchar from delta_scan('{path}')"
        return _median(lambda: connection.execute(f"select count(columns(*)) from ({whole})"))


def _median(work: Callable[[], object]) -> float:
    return statistics.median(_milliseconds(work) for _ in range(ROUNDS))


def _milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000
