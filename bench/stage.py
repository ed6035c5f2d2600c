"""Folding 100,000 changes into a state of five million rows, against delta-rs MERGE of the same."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

from bench.measure import size, table
from bench.raw_lake import MODELS, RawLake

CHANGES = 100_000
HEADER = ["100,000 changes", "base alone, s", "history, s", "SCD2, s", "together, s", "MERGE, s",
          "MERGE against base"]  # fmt: skip
# The keys of the changes, in SQL of a number from 0: those inserted last, or any.
RECENT = "{rows} - {changes} + n"
UNIFORM = "n * ({rows} // {changes}) + {seed}"


def main() -> None:
    """Print seconds of each model as dbt tells them, and the wall time of the peer.

    MERGE makes a current state, as the base model does, and no history.

    The environment variable BENCH_ROWS asks for another state than 5,000,000 rows.
    """
    rows = size("BENCH_ROWS", 5_000_000)
    folder = Path(tempfile.mkdtemp(prefix="bench-stage-"))
    try:
        lake = RawLake(folder)
        lake.add("c", "n", rows)
        first = lake.build()
        merged = lake.peer()
        shown: list[list[object]] = []
        for name, keys in (("recent keys", RECENT), ("uniformly spread keys", UNIFORM)):
            for turn in range(2):
                told = keys.format(rows=rows, changes=CHANGES, seed=turn)
                lake.add("u", told, CHANGES)
                # One after another: side by side, two models share the cores.
                engine = [lake.build(model).engine_s[model] for model in MODELS]
                merge = _merge(merged, lake.newest(CHANGES))
                shown.append(
                    [f"{name}, {('first', 'second')[turn]}", *engine, sum(engine), merge,
                     merge / engine[0]]
                )  # fmt: skip
        table(f"Staging 100,000 changes over a state of {rows:,} rows", HEADER, shown)
        print(f"\nThe first build of the {rows:,} rows took {first.cost.wall_s:.0f} s.")
    finally:
        shutil.rmtree(folder)


def _merge(table: DeltaTable, changes: pa.Table) -> float:
    started = time.perf_counter()
    (
        table.merge(changes, "t.id = s.id", source_alias="s", target_alias="t")
        .when_matched_update_all()
        .when_not_matched_insert_all()
        .execute()
    )
    return time.perf_counter() - started
