"""The forecast: baselines, model, the choice between them, and quantiles about what was chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipelines.errors import LakehouseError
from pipelines.forecasting import boosting
from pipelines.forecasting.baselines import by_baselines
from pipelines.forecasting.boosting import Booster, BoostingConfig
from pipelines.forecasting.calendar import is_closed
from pipelines.forecasting.features import Features
from pipelines.forecasting.panel import Floats, Labels, Panel
from pipelines.forecasting.quantiles import ResidualQuantiles, calibrate, dispersion
from pipelines.forecasting.selection import Choice, choose
from pipelines.forecasting.totals import Totals
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
        baselines: each baseline alone, told of no closed day; that of the choice is among them.
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


@dataclass(frozen=True)
class ForecastModel:
    """What was learned from a panel: it forecasts from that one's end, or from a later day.

    Attributes:
        trained_until: the last day that it has seen.
        residuals: how far it lay off on the validation windows.
        booster: None where the history was too short to learn from.
        features: what the booster sees, in order.
        labels: the labels of each attribute that it knows, sorted.
    """

    config: ForecastConfig
    trained_until: np.datetime64
    choice: Choice
    residuals: ResidualQuantiles
    booster: Booster | None
    features: tuple[str, ...]
    labels: Mapping[str, Labels]

    def predict(
        self,
        panel: Panel,
        *,
        baselines: Mapping[str, Floats] | None = None,
        totals: Totals | None = None,
    ) -> Forecast:
        """Forecast the days after the panel's last.

        Args:
            panel: sales up to the origin, and the plan for the whole horizon if the model has
                learned from one.
            baselines: the panel's forecasts by `BASELINES`, where they are at hand already; else
                the one that the choice names is made alone.
            totals: of all products, where the panel holds a part of them: each gets the forecast
                that it gets among all.

        Raises:
            LakehouseError: the plan ends within the horizon, or the panel has other covariates,
                money columns or attributes than that of the training.
        """
        horizon = self.config.horizon
        _refuse_short_plan(panel, horizon)
        if baselines is None:
            baselines = by_baselines(panel, horizon, totals, (self.choice.baseline,))
        ahead = None
        if self.booster is not None:
            features = Features(panel, horizon, self.labels, totals)
            ahead = _expected(
                panel, features, panel.days - 1, self.booster, self.config.boosting, self.features
            )
        opens = ~is_closed(panel.day(panel.days) + np.arange(horizon), panel.closed)
        mean = self.choice.blend(baselines, ahead) * opens
        p10, p50, p90 = self.residuals.about(mean, dispersion(panel.quantity)) * opens
        return Forecast(
            products=panel.products,
            origin=panel.last,
            mean=mean,
            p10=p10,
            p50=p50,
            p90=p90,
            model=None if ahead is None else ahead * opens,
            baselines=baselines,
            choice=self.choice,
            fingerprint=self.fingerprint,
        )

    @property
    def fingerprint(self) -> str | None:
        """SHA-256 of the booster's text, None without one."""
        if self.booster is None:
            return None
        return hashlib.sha256(self.booster.model_to_string().encode()).hexdigest()


def fit(
    panel: Panel, config: ForecastConfig, *, windows: Sequence[Window] | None = None
) -> ForecastModel:
    """Learn from a panel: the model, what to make of it beside the baselines, and its residuals.

    Args:
        panel: sales up to the last day, with the plan up to that day at least if there is one.
        windows: the panel's validation windows, where they are at hand already.

    Raises:
        LakehouseError: the history is too short.
    """
    if windows is None:
        windows = validation_windows(panel, config.horizon, config.validation_windows)
    tried, booster, names = _learn(panel, config, windows)
    choice = choose(windows, tried)
    blended = [
        choice.blend(window.baselines, tried[number] if tried else None) * ~window.closed
        for number, window in enumerate(windows)
    ]
    residuals = calibrate(
        np.concatenate([window.actual for window in windows]),
        np.concatenate(blended),
        np.concatenate([dispersion(panel.quantity[w.rows, : w.origin + 1]) for w in windows]),
        np.concatenate([np.broadcast_to(~w.closed, w.actual.shape) for w in windows]),
    )
    labels = {name: np.unique(values.astype(str)) for name, values in panel.attributes.items()}
    return ForecastModel(config, panel.last, choice, residuals, booster, names, labels)


def forecast(
    panel: Panel,
    config: ForecastConfig,
    *,
    windows: Sequence[Window] | None = None,
    baselines: Mapping[str, Floats] | None = None,
) -> Forecast:
    """Learn from a panel, and forecast the days after its last; see `fit` and `predict`.

    All baselines are made, where they are not given.
    """
    _refuse_short_plan(panel, config.horizon)
    if baselines is None:
        baselines = by_baselines(panel, config.horizon)
    return fit(panel, config, windows=windows).predict(panel, baselines=baselines)


def _learn(
    panel: Panel, config: ForecastConfig, windows: Sequence[Window]
) -> tuple[list[Floats] | None, Booster | None, tuple[str, ...]]:
    """The model's forecasts of the validation windows, the model of all days, its features.

    One fit serves all validation windows: it has seen nothing of the earliest of them.
    """
    learner = config.boosting
    earliest = min(window.origin for window in windows)
    if not learner.trees or earliest < learner.first_origin + _LEAST_LEARNT_DAYS:
        return None, None, ()
    features = Features(panel, config.horizon)
    training = boosting.training_rows(panel, features, config.horizon, learner)
    if training.sold[training.rows.target <= earliest].sum() < _LEAST_LEARNT_PIECES:
        return None, None, ()
    names = tuple(training.rows.names)
    trial = boosting.fit(training, earliest, learner)
    tried = [
        _expected(panel, features, window.origin, trial, learner, names)[window.rows]
        * ~window.closed
        for window in windows
    ]
    return tried, boosting.fit(training, panel.days - 1, learner), names


def _expected(
    panel: Panel,
    features: Features,
    origin: int,
    booster: Booster,
    learner: BoostingConfig,
    names: tuple[str, ...],
) -> Floats:
    """What the model expects after an origin, shape (products, horizon).

    A product too young to be learnt from, or never sold, gets what the model corrects: the weekday
    average.
    """
    rows = features.at(origin)
    if tuple(rows.names) != names:
        differing = sorted(set(rows.names) ^ set(names))
        raise LakehouseError(
            f"the model was trained on other columns; these differ: {', '.join(differing[:8])}",
            "forecast with the columns and the plan of the training, or train anew",
        )
    expected = boosting.predict(booster, rows, learner.threads)
    # The model has never seen a product so young, nor one that never sold.
    is_known = (origin - panel.first >= learner.least_age) & panel.quantity.any(axis=1)
    return np.where(is_known[rows.product], expected, rows.level).reshape(len(panel.products), -1)


def _refuse_short_plan(panel: Panel, horizon: int) -> None:
    for name, values in panel.plan.items():
        if values.shape[1] < panel.days + horizon:
            raise LakehouseError(
                f"{name} is planned up to {panel.day(values.shape[1] - 1)}, but the forecast goes "
                f"{horizon} days beyond {panel.last}",
                "plan it for the whole horizon, or forecast without it",
            )
