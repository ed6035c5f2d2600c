"""The forecast: baselines, model, the choice between them, and quantiles about what was chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipelines.errors import LakehouseError
from pipelines.forecasting import boosting
from pipelines.forecasting.baselines import BASELINES
from pipelines.forecasting.boosting import BoostingConfig
from pipelines.forecasting.features import Features
from pipelines.forecasting.panel import Floats, Labels, Panel
from pipelines.forecasting.quantiles import calibrate, dispersion
from pipelines.forecasting.selection import Choice, choose
from pipelines.forecasting.validation import Window, validation_windows

# So many days of targets must lie before the first validation window for the model to learn from.
_LEAST_LEARNT_DAYS = 28
_LEAST_LEARNT_PIECES = 100.0


@dataclass(frozen=True)
class ForecastConfig:
    """How to forecast.

    Attributes:
        horizon: days ahead.
        validation_windows: windows of that length at the end of the history that decide.
    """

    horizon: int = 28
    validation_windows: int = 2
    boosting: BoostingConfig = field(default_factory=BoostingConfig)


@dataclass(frozen=True)
class Forecast:
    """Pieces a day; arrays have the shape (products, horizon).

    Attributes:
        origin: the last day with sales known; the forecast begins on the next.
        mean: what to expect, to be summed at will: sums over products and days are coherent.
        p10, p50, p90: quantiles of single days; they may not be summed.
        model: the model alone, None where the history is too short for it.
        baselines: each baseline alone.
        choice: what `mean` is made of, and why.
        fingerprint: SHA-256 of the model's text, None without a model.
    """

    products: Labels
    origin: np.datetime64
    mean: Floats
    p10: Floats
    p50: Floats
    p90: Floats
    model: Floats | None
    baselines: Mapping[str, Floats]
    choice: Choice
    fingerprint: str | None


def forecast(
    panel: Panel,
    config: ForecastConfig,
    *,
    windows: Sequence[Window] | None = None,
    baselines: Mapping[str, Floats] | None = None,
) -> Forecast:
    """Forecast the days after the panel's last.

    Args:
        panel: sales up to the origin, and the plan for the whole horizon if there is one.
        windows: the panel's validation windows, where they are at hand already.
        baselines: its baselines' forecasts, likewise.

    Raises:
        LakehouseError: the history is too short, or the plan ends within the horizon.
    """
    _refuse_short_plan(panel, config.horizon)
    if windows is None:
        windows = validation_windows(panel, config.horizon, config.validation_windows)
    if baselines is None:
        baselines = {name: make(panel, config.horizon) for name, make in BASELINES.items()}
    models, ahead, fingerprint = _model(panel, config, windows)
    choice = choose(windows, models)
    tried = [
        choice.blend(window.baselines, models[number] if models else None)
        for number, window in enumerate(windows)
    ]
    residuals = calibrate(
        np.concatenate([window.actual for window in windows]),
        np.concatenate(tried),
        np.concatenate([dispersion(panel.quantity[w.rows, : w.origin + 1]) for w in windows]),
    )
    mean = choice.blend(baselines, ahead)
    p10, p50, p90 = residuals.about(mean, dispersion(panel.quantity))
    return Forecast(
        products=panel.products,
        origin=panel.last,
        mean=mean,
        p10=p10,
        p50=p50,
        p90=p90,
        model=ahead,
        baselines=baselines,
        choice=choice,
        fingerprint=fingerprint,
    )


def _model(
    panel: Panel, config: ForecastConfig, windows: Sequence[Window]
) -> tuple[list[Floats] | None, Floats | None, str | None]:
    """The model's forecasts of the validation windows and of what lies ahead, and its hash.

    One fit serves all validation windows: it has seen nothing of the earliest of them. A product
    too young to be learnt from, or never sold, gets what the model corrects: the weekday average.
    """
    learner = config.boosting
    earliest = min(window.origin for window in windows)
    if earliest < learner.first_origin + _LEAST_LEARNT_DAYS:
        return None, None, None
    features = Features(panel, config.horizon)
    training = boosting.training_rows(panel, features, config.horizon, learner)
    if training.sold[training.rows.target <= earliest].sum() < _LEAST_LEARNT_PIECES:
        return None, None, None
    shape = (len(panel.products), config.horizon)
    has_sold = panel.quantity.any(axis=1)

    def predicted(booster: boosting.Booster, origin: int) -> Floats:
        rows = features.at(origin)
        expected = boosting.predict(booster, rows, learner.threads)
        # The model has never seen a product so young, nor one that never sold.
        is_known = (origin - panel.first >= learner.least_age) & has_sold
        return np.where(is_known[rows.product], expected, rows.level).reshape(shape)

    trial = boosting.fit(training, earliest, learner)
    tried = [predicted(trial, window.origin)[window.rows] for window in windows]
    final = boosting.fit(training, panel.days - 1, learner)
    text = final.model_to_string()
    return tried, predicted(final, panel.days - 1), hashlib.sha256(text.encode()).hexdigest()


def _refuse_short_plan(panel: Panel, horizon: int) -> None:
    for name, values in panel.plan.items():
        if values.shape[1] < panel.days + horizon:
            raise LakehouseError(
                f"{name} is planned up to {panel.day(values.shape[1] - 1)}, but the forecast goes "
                f"{horizon} days beyond {panel.last}",
                "plan it for the whole horizon, or forecast without it",
            )
