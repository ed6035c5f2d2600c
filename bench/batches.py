"""Micro-batches one after another: what each costs from its capture file to current state."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from itertools import islice
from pathlib import Path

from bench.measure import judged, lakehouse, size, table
from bench.models import run_models
from bench.sales import sale_lines, write_sales
from pipelines.settings import REPOSITORY

ROUNDS = 3
GOAL = 1.3
HEADER = ["batch", "land, s", "base in the engine, s", "history in the engine, s",
          "dbt run, s", "land and dbt run, s", "against the first increment"]  # fmt: skip


def main() -> None:
    """Print what each batch takes; each figure is the median of its rounds.

    Batch 0 builds the empty state, which is not an increment; batch 1 is the first one, to which
    the others are compared. The environment variables BENCH_ROWS and BENCH_BATCHES ask for other
    numbers than 100,000 events a batch and ten increments.
    """
    count, increments = size("BENCH_ROWS", 100_000), size("BENCH_BATCHES", 10)
    folder = Path(tempfile.mkdtemp(prefix="bench-batches-"))
    try:
        lines = sale_lines(folder, count * (increments + 1))
        inboxes = [
            write_sales(islice(lines, count), folder / f"batch-{number}")
            for number in range(increments + 1)
        ]
        rounds = []
        for turn in range(ROUNDS):
            home = folder / f"lake-{turn}"
            rounds.append([_seconds(inbox, home) for inbox in inboxes])
            shutil.rmtree(home)
        _print(count, [_medians(batch) for batch in zip(*rounds, strict=True)])
    finally:
        shutil.rmtree(folder)


def _seconds(inbox: Path, home: Path) -> list[float]:
    """Land and stage one batch: seconds of landing, base, history, dbt, and all of it."""
    land = lakehouse("land", "--from", str(inbox), home=home, cpus=2).wall_s
    staged = run_models(REPOSITORY / "dbt_project", home, "base_sale", "hist_sale")
    dbt = staged.cost.wall_s
    return [land, staged.engine_s["base"], staged.engine_s["hist"], dbt, land + dbt]


def _medians(rounds: tuple[list[float], ...]) -> list[float]:
    return [statistics.median(seconds) for seconds in zip(*rounds, strict=True)]


def _print(count: int, batches: list[list[float]]) -> None:
    names = ["0, builds the state", "1, the first increment", *range(2, len(batches))]
    first = batches[1]
    ratios: list[str | float] = ["", "base", *(batch[-1] / first[-1] for batch in batches[2:])]
    rows: list[list[object]] = [
        [name, *batch, ratio] for name, batch, ratio in zip(names, batches, ratios, strict=True)
    ]
    table(f"Micro-batches of {count:,} sale events (whole processes, two cores)", HEADER, rows)
    slowest = max(batch[-1] for batch in batches[1:]) / first[-1]
    work = max(sum(batch[:3]) for batch in batches[1:]) / sum(first[:3])
    print(
        f"\nThe slowest increment takes {judged(slowest, GOAL)} times the first; {work:.2f} times "
        "where of dbt only the seconds in the engine count."
    )
