"""Staging a million updates of which half hit one key, against as many spread over all keys."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path

from bench.measure import MIB, cpu_s, judged, peak_mib, size, table, wall_s
from bench.models import Run
from bench.raw_lake import MODELS, RawLake

ROUNDS = 3
GOAL = 1.5
PEAK_GOAL_MIB = 2e9 / MIB
HEADER = ["what", "base, s", "history, s", "SCD2, s", "together, s", "dbt run, wall s",
          "dbt run, CPU s", "peak MiB"]  # fmt: skip
# The key of the n-th update, in SQL.
UNIFORM = "n"
HOT = "case when n < {count} // 2 then 0 else n end"


def main() -> None:
    """Print seconds in the engine by model; each figure is the median of its rounds, in turn.

    Each round begins with new lakes, since a history of many versions is a cost of its own. The
    environment variable BENCH_ROWS asks for another number of rows and updates than 1,000,000.
    """
    count = size("BENCH_ROWS", 1_000_000)
    keys = {"uniformly spread": UNIFORM, "half of them on one key": HOT.format(count=count)}
    runs: dict[str, list[Run]] = {name: [] for name in keys}
    for _ in range(ROUNDS):
        for name, key in keys.items():
            runs[name].append(_update(count, key))
    rows: list[list[object]] = []
    sums: list[float] = []
    for name, measured in runs.items():
        engine = [statistics.median(run.engine_s[model] for run in measured) for model in MODELS]
        sums.append(sum(engine))
        costs = [run.cost for run in measured]
        peak = f"{peak_mib(costs):,.0f}"
        rows.append([name, *engine, sums[-1], wall_s(costs), cpu_s(costs), peak])
    table(f"Staging {count:,} updates over a state of {count:,} rows", HEADER, rows)
    uniform, hot = sums
    peak_hot = peak_mib([run.cost for run in runs["half of them on one key"]])
    print(
        f"\nThe hot key takes {judged(hot / uniform, GOAL)} times the engine's seconds. "
        f"Peak of the whole process: {judged(peak_hot, PEAK_GOAL_MIB, ' MiB')}."
    )


def _update(count: int, key: str) -> Run:
    """Stage updates of these keys over a state that holds each key once."""
    folder = Path(tempfile.mkdtemp(prefix="bench-hot-"))
    try:
        lake = RawLake(folder)
        lake.add("c", "n", count)
        lake.build()
        lake.add("u", key, count)
        return lake.build()
    finally:
        shutil.rmtree(folder)
