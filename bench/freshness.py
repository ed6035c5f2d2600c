"""How long a row takes from its commit in PostgreSQL to the raw table: the whole of the stack."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psycopg
from deltalake import DeltaTable

from bench.follow import committed_at
from bench.measure import MIB, judged, size, table
from tests.stack.native.components import install
from tests.stack.native.loopback import LOOPBACK
from tests.stack.native.processes import Process
from tests.stack.native.stack import Stack

TOPIC = "shop.public.client_interaction"
GOAL_S = 10.0
RATES = (1_000, 5_000)
BATCH_SECONDS = 2
PATIENCE_S = 900.0
_TICK_S = 0.05
_FIRST_ID = 1_000_000_000
_INSERT = """
insert into client_interaction
select id, id %% 500, null, 'view', '2017-06-01 12:00:00+00' from generate_series(%s, %s) as id
"""
_LAKEHOUSE = (sys.executable, "-m", "pipelines.cli")


@dataclass(frozen=True)
class Load:
    """What was inserted: `rows` rows in `seconds`."""

    rows: int
    seconds: float


def main() -> None:
    """Print keep-up, freshness, exactness and file geometry at each rate.

    PostgreSQL, Connect, Kafka and the store run beside the load and the landing. Scored afterwards,
    from the table alone: a row begins when PostgreSQL committed it, as Debezium tells, and is there
    when the file of its Delta commit was written. BENCH_SECONDS (300) says how long each rate
    lasts, BENCH_RATE asks for one other rate.
    """
    rates = [size("BENCH_RATE", 0)] if "BENCH_RATE" in os.environ else RATES
    seconds = size("BENCH_SECONDS", 300)
    rows = [_measured(rate, seconds) for rate in rates]
    header = ["rows/s asked", "inserted", "kept up with", "p50 s", "p95 s", "p99 s", "slowest s",
              "lost", "twice", "commits", "files", "median file"]  # fmt: skip
    table(f"From a commit in PostgreSQL to the raw table, {seconds} s each", header, rows)
    for rate, row in zip(rates, rows, strict=True):
        print(f"\np95 at {rate:,} rows/s: {judged(float(str(row[4])), GOAL_S, ' s')}.")


def _measured(rate: int, seconds: int) -> list[object]:
    # PostgreSQL runs as another user, who must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix="bench-freshness-"))
    folder.chmod(0o755)
    stack = Stack(folder, install())
    try:
        stack.up(["postgres", "kafka", "connect", "connect-init", "s3", "s3-init"])
        raw = stack.volume("s3-data") / "lake" / "freshness" / "raw"
        url = (
            f"postgresql://shop:{stack.secrets['SHOP_DB_PASSWORD']}"
            f"@{LOOPBACK}:{stack.port('postgres', 5432)}/shop"
        )
        subprocess.run(
            [*_LAKEHOUSE, "shop", "run", "--database", url, "--clients", "5",
             "--until", "2017-01-03"], check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        lander = Process(
            [*_LAKEHOUSE, "--home", str(folder / "lake"), "land", "--follow",
             "--kafka", f"{LOOPBACK}:{stack.port('kafka', 9092)}",
             "--topics", TOPIC.replace(".", r"\."), "--batch-seconds", str(BATCH_SECONDS)],
            environment=dict(os.environ) | stack.s3().lake("freshness"),
            log=folder / "lander.log",
        )  # fmt: skip
        try:
            with psycopg.connect(url, autocommit=True) as database:
                _insert(database, 1, _TICK_S)
                _wait_for(raw, 1, lander)
                load = _insert(database, rate, seconds)
            _wait_for(raw, 1 + load.rows, lander)
        finally:
            lander.stop()
        return [rate, f"{load.rows:,}", *_scored(raw, load)]
    finally:
        stack.down()
        shutil.rmtree(folder)


def _insert(database: Any, rate: int, seconds: float) -> Load:
    """Insert by the clock, whatever the others do: what is behind is caught up."""
    began = time.monotonic()
    ((last,),) = database.execute("select max(interaction_id) from client_interaction").fetchall()
    first = last = max(last or 0, _FIRST_ID)
    while (passed := time.monotonic() - began) < seconds:
        due = first + max(int(min(passed + _TICK_S, seconds) * rate), 1)
        if due > last:
            database.execute(_INSERT, [last + 1, due])
            last = due
        time.sleep(max(0.0, _TICK_S - (time.monotonic() - began - passed)))
    return Load(last - first, time.monotonic() - began)


def _wait_for(raw: Path, rows: int, lander: Process) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while _landed(raw) < rows:
        if lander.ended() is not None or time.monotonic() > deadline:
            sys.exit(f"{_landed(raw):,} of {rows:,} rows landed:\n{lander.told()}")
        time.sleep(0.5)


def _landed(raw: Path) -> int:
    """Rows of the load, by their numbers."""
    path = raw / TOPIC
    if not (path / "_delta_log").exists():
        return 0
    found = DeltaTable(str(path)).to_pyarrow_dataset().to_table(columns=["interaction_id"])
    return int(np.count_nonzero(found["interaction_id"].to_numpy() > _FIRST_ID))


def _scored(raw: Path, load: Load) -> list[object]:
    columns = ["interaction_id", "_batch_id", "_source_ts_us"]
    landed = DeltaTable(str(raw / TOPIC)).to_pyarrow_table(columns=columns)
    ids = landed["interaction_id"].to_numpy()
    is_load = ids > _FIRST_ID + 1
    committed = committed_at(raw / TOPIC, "_batch_id")
    seen = np.array([committed[batch] for batch in landed["_batch_id"].to_pylist()])[is_load]
    born = landed["_source_ts_us"].to_numpy()[is_load] / 1e6
    waited = seen - born
    distinct = len(np.unique(ids[is_load]))
    # All that was inserted, over the time from the first commit to the last row there.
    kept_up = f"{load.rows / (seen.max() - born.min()):,.0f} rows/s"
    files = [file.stat().st_size for file in (raw / TOPIC).rglob("*.parquet")]
    return [
        kept_up,
        *(float(np.percentile(waited, share)) for share in (50, 95, 99)),
        float(waited.max()),
        load.rows - distinct,
        int(is_load.sum()) - distinct,
        len(list((raw / TOPIC / "_delta_log").glob("*.json"))),
        len(files),
        f"{median(files) / MIB:.2f} MiB",
    ]
