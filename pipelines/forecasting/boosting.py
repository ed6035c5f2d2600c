"""The model: one LightGBM for all products and all days of the horizon, on top of a baseline.

It learns log(sold / weekday average) with a Tweedie loss, the weekday average being its offset: it
begins as good as that baseline, and days without sales need no care.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, TypeAlias

# Read when OpenMP is loaded: threads that wait by spinning starve whoever shares the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from pipelines.forecasting.calendar import is_closed
from pipelines.forecasting.features import Features, Rows
from pipelines.forecasting.panel import Floats, Panel

Booster: TypeAlias = Any  # lightgbm.Booster, which is not typed


_LEAST_LEVEL = 0.01


@dataclass(frozen=True)
class BoostingConfig:
    """How the model learns; chosen on origins before those that the bench reports.

    Attributes:
        trees: 0 leaves the model out: what is forecast is the best baseline.
        variance_power: how variance grows with the mean: 1 as of Poisson's counts, 2 as of gamma.
        half_life_days: a row so many days before the last one weighs half.
        origin_step: days from one training origin to the one before it.
        first_origin: the first day of the panel that is a training origin.
        history_days: how far back training origins go; what is older would weigh next to nothing.
        most_rows: of more rows a random part is learnt from, which bounds time and memory.
        least_age: a product is learnt from when its first sale is so many days old.
    """

    variance_power: float = 1.2
    trees: int = 300
    learning_rate: float = 0.05
    leaves: int = 63
    least_rows_in_leaf: int = 100
    share_of_features: float = 0.3
    share_of_rows: float = 0.35
    half_life_days: float = 84.0
    origin_step: int = 7
    first_origin: int = 70
    history_days: int = 730
    most_rows: int = 1_200_000
    least_age: int = 28
    threads: int = 2
    seed: int = 20170101


@dataclass(frozen=True)
class TrainingRows:
    """Rows of many origins with what was sold on their target day, shape (rows,)."""

    rows: Rows
    sold: Floats


def training_rows(
    panel: Panel, features: Features, horizon: int, config: BoostingConfig
) -> TrainingRows:
    """Rows of all training origins whose target day is known, and was one of business."""
    last = panel.days - 1
    closed = is_closed(panel.start + np.arange(panel.days), panel.closed)
    # The horizon of a late origin goes beyond the last day.
    told = np.append(~closed | panel.quantity.any(axis=0), np.zeros(horizon, bool))
    first = max(config.first_origin, last - config.history_days)
    origins = range(last - config.origin_step, first - 1, -config.origin_step)
    share = config.most_rows / (len(origins) * len(panel.products) * horizon)
    random = np.random.default_rng(config.seed)
    parts: list[Rows] = []
    for origin in origins:
        rows = features.at(origin)
        kept = told[rows.target] & (origin - panel.first[rows.product] >= config.least_age)
        kept &= random.random(len(kept)) < share
        parts.append(_some(rows, kept))
    rows = Rows(
        names=parts[0].names,
        values=np.concatenate([part.values for part in parts]),
        level=np.concatenate([part.level for part in parts]),
        target=np.concatenate([part.target for part in parts]),
        product=np.concatenate([part.product for part in parts]),
    )
    return TrainingRows(rows, panel.quantity[rows.product, rows.target])


def fit(training: TrainingRows, until: int, config: BoostingConfig) -> Booster:
    """Learn from the rows whose target day is `until` or before it."""
    rows = training.rows
    kept = rows.target <= until
    offset = _offset(rows)[kept]
    weight = 0.5 ** ((until - rows.target[kept]) / config.half_life_days)
    # The scale of quantities must not change what regularisation does.
    weight /= np.average(offset, weights=weight)
    data = lgb.Dataset(
        rows.values[kept],
        training.sold[kept],
        weight=weight,
        init_score=np.log(offset),
        feature_name=rows.names,
        free_raw_data=True,
    )
    return lgb.train(_parameters(config), data, config.trees)


def predict(booster: Booster, rows: Rows, threads: int) -> Floats:
    """Expected pieces of each row."""
    score = booster.predict(rows.values, raw_score=True, num_threads=threads)
    return np.asarray(np.exp(score) * _offset(rows))


def _parameters(config: BoostingConfig) -> dict[str, object]:
    return {
        "objective": "tweedie",
        "tweedie_variance_power": config.variance_power,
        "learning_rate": config.learning_rate,
        "num_leaves": config.leaves,
        "min_data_in_leaf": config.least_rows_in_leaf,
        "feature_fraction": config.share_of_features,
        "bagging_fraction": config.share_of_rows,
        "bagging_freq": 1,
        "max_bin": 127,
        "num_threads": config.threads,
        "seed": config.seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }


def _offset(rows: Rows) -> Floats:
    """Where nothing sold lately, the model still may expect something."""
    return np.maximum(rows.level, _LEAST_LEVEL)


def _some(rows: Rows, kept: npt.NDArray[np.bool_]) -> Rows:
    return Rows(
        rows.names, rows.values[kept], rows.level[kept], rows.target[kept], rows.product[kept]
    )
