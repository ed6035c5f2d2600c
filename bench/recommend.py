"""Recommendations on a year of real purchases: quality on three windows, seconds and memory."""

from __future__ import annotations

import json
import time
from functools import cache

import duckdb
import pandas as pd

from bench.measure import judged, python, table
from pipelines.demo.package import data_folder
from pipelines.recommendation.backtest import Backtest, backtest
from pipelines.recommendation.determinism import one_blas_thread
from pipelines.recommendation.evidence import Context
from pipelines.recommendation.interactions import Interactions, read_interactions
from pipelines.recommendation.pairs import LONG, pair_up
from pipelines.recommendation.recommend import recommend
from pipelines.recommendation.recommender import fit
from pipelines.recommendation.selection import TASKS, Task
from pipelines.recommendation.signals.content import Catalogue
from pipelines.recommendation.signals.factors import LatentTaste
from pipelines.recommendation.splits import Holdout, last_window

_SPLIT = Holdout(28)
_WINDOWS = 3
_END = pd.Timestamp("2018-01-01")
_LINES = """
select household_id as client_id, product_id, transaction_timestamp as at, basket_id, quantity
from '{0}/transactions.parquet' join '{0}/products.parquet' using (product_id)
where department not in ('FUEL', 'MISCELLANEOUS', 'COUPON')
"""
_CATALOGUE = """
select product_id, department, brand, product_category, product_type
from '{0}/products.parquet' where department not in ('FUEL', 'MISCELLANEOUS', 'COUPON')
"""
_WHOLE = "from bench.recommend import whole\nwhole()\n"


def main() -> None:
    """Print the tables of docs/models/recommendation.md: 2,469 clients, three windows of 28 days.

    Nothing was chosen on these windows: what is fixed in the code was chosen on earlier ones.
    """
    cost = python(_WHOLE)
    seconds = json.loads(cost.stdout.splitlines()[-1])
    table(
        "The recommender on a year of 2,469 clients, cut at 2017-12-04",
        ["what", "seconds"],
        [
            ["implicit ALS alone", judged(seconds["als"], 10)],
            ["training", seconds["fit"]],
            ["lists of all clients", seconds["recommend"]],
            ["training and lists", judged(seconds["fit"] + seconds["recommend"], 180)],
            ["CPU seconds of the process", cost.cpu_s],
            ["peak", judged(cost.peak_mib, 4096, " MiB")],
        ],
    )
    result = backtest(purchases(), _SPLIT, context(), count=_WINDOWS)
    for task in TASKS:
        _show(result, task)


def whole() -> None:
    """Print the seconds of ALS, of training and of the lists as JSON; in a process of its own."""
    history = last_window(purchases(), _SPLIT).history
    seconds = {}
    pairs = pair_up(history)
    started = time.perf_counter()
    with one_blas_thread():
        LatentTaste(pairs.matrix(pairs.decayed[LONG]), seed=0)
    seconds["als"] = time.perf_counter() - started
    started = time.perf_counter()
    model = fit(history, _SPLIT, context())
    seconds["fit"] = time.perf_counter() - started
    started = time.perf_counter()
    lists = recommend(model)
    seconds["recommend"] = time.perf_counter() - started
    assert len(set(lists["client_id"].to_pylist())) == len(history.clients)
    print(json.dumps(seconds))


@cache
def purchases() -> Interactions:
    """All purchases of the package, but for what is fuel, a fee or paper."""
    lines = duckdb.sql(_LINES.format(data_folder())).to_arrow_table()
    return read_interactions(lines, as_of=_END)


def context() -> Context:
    """The attributes of its products."""
    frame = duckdb.sql(_CATALOGUE.format(data_folder())).df()
    return Context(Catalogue(frame.set_index("product_id")))


def _show(result: Backtest, task: Task) -> None:
    rows: list[list[object]] = []
    for window in result.windows:
        for row in result.rows:
            if (row.window, row.task) == (window.window, task):
                rows.append(
                    [row.window[5:15], row.contender + (" (used)" if row.is_chosen else ""),
                     f"{row.ndcg.mean:.4f} ({row.ndcg.low:.4f}–{row.ndcg.high:.4f})",
                     f"{row.recall.mean:.4f}", f"{row.map.mean:.4f}", f"{row.coverage:.3f}"]
                )  # fmt: skip
    for contender in dict.fromkeys(row.contender for row in result.rows if row.task == task):
        means = [result.mean(task, contender, metric) for metric in ("ndcg", "recall", "map")]
        rows.append(["mean", contender, *(f"{mean:.4f}" for mean in means), ""])
    k = result.k
    title = "All products" if task == "all" else "Products new to the client"
    table(title, ["window", "", f"NDCG@{k} (95 %)", f"Recall@{k}", f"MAP@{k}", "coverage"], rows)
    for window in result.windows:
        print(f"\n{window.window}: {window.why[task]}")
