"""Churn on a year of real purchases: every contender at three origins, and what the model costs."""

from __future__ import annotations

import time
from collections import Counter
from datetime import date

import numpy as np
import pyarrow.compute as pc

from bench.churn_data import BUSINESS_DATE, load_year
from bench.measure import table
from pipelines.churn.backtest import PIPELINE, Backtest, backtest
from pipelines.churn.metrics import METRICS, Estimate, mean_estimate
from pipelines.churn.model import AT_RISK, fit

_BASELINES = ("recency", "rfm")
# On the four origins before this day the settings were chosen: their figures flatter.
_CHOSEN_BEFORE = date(2017, 9, 11)


def main() -> None:
    """Print the tables of docs/models/churn.md: 2,469 clients, three origins four weeks apart."""
    snapshots, purchases = load_year()
    started = time.perf_counter()
    model = fit(snapshots, purchases, BUSINESS_DATE)
    fitted = time.perf_counter()
    last = snapshots.filter(pc.equal(snapshots["feature_date"], BUSINESS_DATE))
    told = model.predict(last)
    ended = time.perf_counter()
    status = Counter(told["status"].to_pylist())
    table(
        f"The churn model as of {BUSINESS_DATE}",
        ["learnt from", "lost", "fit s", "predict s", "clients", "at risk", "used"],
        [
            [
                f"{model.learnt['rows']:,} snapshots, {model.learnt['first_day']} to "
                f"{model.learnt['last_day']}",
                f"{model.learnt['lost']:.1%}",
                fitted - started,
                ended - fitted,
                f"{len(told):,}",
                f"{status[AT_RISK]:,}",
                model.choice.winner,
            ]
        ],
    )
    found = backtest(snapshots, purchases, BUSINESS_DATE)
    _show("Churn, origins that nothing was chosen on", found)
    _show_differences(found)
    _show_calibration(found)
    chosen_on = backtest(snapshots, purchases, _CHOSEN_BEFORE, count=4, step_days=7)
    _show("Churn, origins that the settings were chosen on", chosen_on)


def _show(title: str, found: Backtest) -> None:
    rows = [
        [str(row.origin or "all"), row.contender, *(_cell(row.metrics[name]) for name in METRICS)]
        for row in found.rows
    ]
    table(title, ["origin", "", *(name.replace("_", " ") for name in METRICS)], rows)
    for day, choice in found.choices.items():
        print(f"\n{day}: {choice.winner}: {choice.reason}")


def _show_differences(found: Backtest) -> None:
    """Of the same clients, in pairs: below zero the pipeline is better."""
    frame = found.losses.to_pandas().set_index(["origin", "client_id"])
    own = frame[frame["contender"] == PIPELINE]["log_loss"]
    rows: list[list[object]] = []
    for name in _BASELINES:
        other = frame[frame["contender"] == name]["log_loss"]
        for origin in (*found.choices, None):
            apart = own - other
            if origin is not None:
                apart = apart.loc[[origin]]
            clients = apart.index.get_level_values("client_id").to_numpy()
            rows.append(
                [name, str(origin or "all"), _cell(mean_estimate(apart.to_numpy(), clients))]
            )
    table("Log loss of the pipeline less that of a baseline", ["baseline", "origin", ""], rows)


def _show_calibration(found: Backtest) -> None:
    """Tenths of all snapshots by the pipeline's probability: what was told, and what came."""
    frame = found.losses.to_pandas()
    own = frame[frame["contender"] == PIPELINE].sort_values("probability", kind="stable")
    rows: list[list[object]] = [
        [tenth + 1, len(part), f"{part['probability'].mean():.4f}", f"{part['churned'].mean():.4f}"]
        for tenth, part in enumerate(
            own.iloc[places] for places in np.array_split(np.arange(len(own)), 10)
        )
    ]
    table("Calibration of the pipeline", ["tenth", "snapshots", "told", "came"], rows)


def _cell(figure: Estimate) -> str:
    return f"{figure.value:.4f} ({figure.low:.4f}–{figure.high:.4f})"
