"""How long an event takes from Kafka to a row: `land --follow` under an even load."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from deltalake import DeltaTable

from bench.measure import judged, size, table
from bench.sales import TOPIC, sale_lines, write_sales

GOAL_S = 3.0
BATCH_SECONDS = 1
PATIENCE_S = 120.0
HEADER = ["until", "events", "commits", "p50 s", "p95 s", "slowest s"]
_LAND = "from pipelines.cli import main; main()"


def main() -> None:
    """Print the time from producing to a row in the raw table, and to its line in the ledger.

    The time of producing is the event's commit time; the end is when the file of the Delta commit
    was written, read from the log afterwards, so that looking disturbs nothing. The environment
    variables BENCH_RATE and BENCH_SECONDS ask for other numbers than 5,000 events a second and 30.
    """
    rate, seconds = size("BENCH_RATE", 5_000), size("BENCH_SECONDS", 30)
    folder = Path(tempfile.mkdtemp(prefix="bench-follow-"))
    try:
        lines = islice(sale_lines(folder, rate * seconds), rate * seconds)
        (file,) = (write_sales(lines, folder / "events") / TOPIC).iterdir()
        raw = folder / "lake" / "raw"
        with _process(folder, "-m", "bench.produce", str(file), str(rate)) as producer:
            bootstrap = _told(producer)
            follow = [
                "--home", str(folder / "lake"), "land", "--kafka", bootstrap, "--follow",
                "--topics", re.escape(TOPIC), "--batch-seconds", str(BATCH_SECONDS),
            ]  # fmt: skip
            with _process(folder, "-c", _LAND, *follow) as follower:
                _wait(follower, folder, lambda: _rows(raw) == 1)
                _begin(producer)
                sent = json.loads(_told(producer))
                _wait(follower, folder, lambda: _rows(raw) == 1 + sent["sent"])
                follower.terminate()
                if follower.wait(PATIENCE_S) != 0:
                    sys.exit(f"the follower failed:\n{_log(folder)}")
        _print(raw, sent)
    finally:
        shutil.rmtree(folder)


def _print(raw: Path, sent: dict[str, float]) -> None:
    landed = DeltaTable(str(raw / TOPIC)).to_pyarrow_table(columns=["_batch_id", "_source_ts_us"])
    produced = landed["_source_ts_us"].to_numpy() / 1e6
    measured = produced >= sent["began_us"] / 1e6
    batch_ids = landed["_batch_id"].to_pylist()
    rows: list[list[object]] = []
    worst = 0.0
    for name, path, column in (
        ("the row lies in the raw table", raw / TOPIC, "_batch_id"),
        ("the ledger names its batch: staging reads it", raw / "_ledger", "batch_id"),
    ):
        committed = committed_at(path, column)
        waited = (np.array([committed[batch_id] for batch_id in batch_ids]) - produced)[measured]
        p50, p95 = (float(np.percentile(waited, share)) for share in (50, 95))
        worst = max(worst, p95)
        rows.append([name, f"{len(waited):,}", len(committed), p50, p95, float(waited.max())])
    rate = sent["sent"] / sent["seconds"]
    table(f"From producing to a row, at {rate:,.0f} events a second", HEADER, rows)
    print(f"\np95, of the later of the two: {judged(worst, GOAL_S, ' s')}.")


def committed_at(path: Path, column: str) -> dict[str, float]:
    """Batch id → when the first commit with rows of it was written, in seconds since 1970."""
    committed: dict[str, float] = {}
    for entry in sorted((path / "_delta_log").glob("*.json")):
        for action in map(json.loads, entry.read_text().splitlines()):
            if "add" in action:
                rows = pq.read_table(
                    path / action["add"]["path"], columns=[column], partitioning=None
                )
                for batch_id in rows[column].unique().to_pylist():
                    committed.setdefault(batch_id, entry.stat().st_mtime)
    return committed


def _rows(raw: Path) -> int:
    path = str(raw / TOPIC)
    return DeltaTable(path).count() if DeltaTable.is_deltatable(path) else 0


@contextmanager
def _process(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process that is asked by its input and ends with the block."""
    with (
        (folder / "log").open("a") as log,
        subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def _told(producer: subprocess.Popen[str]) -> str:
    """The next line that it prints."""
    assert producer.stdout is not None
    return producer.stdout.readline().strip() or sys.exit("the producer ended early")


def _begin(producer: subprocess.Popen[str]) -> None:
    assert producer.stdin is not None
    producer.stdin.write("\n")
    producer.stdin.flush()


def _wait(process: subprocess.Popen[str], folder: Path, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"the follower failed, or took {PATIENCE_S:.0f} s too long:\n{_log(folder)}")
        time.sleep(0.5)


def _log(folder: Path) -> str:
    return (folder / "log").read_text()[-3000:]
