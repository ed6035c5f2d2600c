"""The loop of models: the default demo with them, and how fast champions predict in batches."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.churn_data import BUSINESS_DATE
from bench.churn_data import load_year as load_clients
from bench.forecast_data import load_year as load_sales
from bench.measure import judged, lakehouse, table
from bench.recommend import context, purchases
from pipelines.churn.model import fit as fit_churn
from pipelines.forecasting.model import ForecastConfig
from pipelines.forecasting.model import fit as fit_forecast
from pipelines.recommendation.recommend import recommend
from pipelines.recommendation.recommender import Recommender
from pipelines.recommendation.recommender import fit as fit_recommender
from pipelines.recommendation.splits import Holdout

_TOP = 1_000


def main() -> None:
    """Print the cost of the default demo, and rows/s of each kind of model, on two cores."""
    _demo()
    _scoring()


def _demo() -> None:
    folder = Path(tempfile.mkdtemp(prefix="bench-loop-"))
    try:
        cost = lakehouse("demo", home=folder / "lake")
    finally:
        shutil.rmtree(folder)
    table(
        "The default demo (500 clients), with models",
        ["what", "wall s", "CPU s", "peak"],
        [["lakehouse demo", judged(cost.wall_s, 240), cost.cpu_s,
          judged(cost.peak_mib, 4096, " MiB")]],
    )  # fmt: skip


def _scoring() -> None:
    """Models of the size that `lakehouse train` makes, asked in one process that is warm."""
    rows = []
    panel = load_sales().without_plan()
    forecast = fit_forecast(panel.select(panel.best(_TOP)), ForecastConfig())
    rows.append(_rate("forecast", *_timed(lambda: forecast.predict(panel).mean.size)))
    snapshots, bought = load_clients()
    churn = fit_churn(snapshots, bought, BUSINESS_DATE)
    rows.append(_rate("churn", *_timed(lambda: churn.predict(snapshots).num_rows)))
    recommender = fit_recommender(purchases(), Holdout(28), context())
    listed, seconds = _timed(lambda: recommend(recommender).num_rows)
    rows.append(_rate("recommend: rows of lists", listed, seconds))
    rows.append(_rate("recommend: candidates ranked", _candidates(recommender), seconds))
    table("Predicting in batches", ["model", "rows", "s", "rows/s", "s a 100,000 rows"], rows)


def _candidates(recommender: Recommender) -> int:
    """Pairs of client and product that are scored for the lists of all clients."""
    clients = np.arange(len(recommender.evidence.history.clients))
    return sum(len(block.client) for _, block in recommender.blocks(clients))


def _timed(predict: Callable[[], int]) -> tuple[int, float]:
    predict()
    began = time.perf_counter()
    rows = predict()
    return rows, time.perf_counter() - began


def _rate(name: str, rows: int, seconds: float) -> list[object]:
    return [name, f"{rows:,}", seconds, f"{rows / seconds:,.0f}", judged(seconds / rows * 1e5, 1)]
