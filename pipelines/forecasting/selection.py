"""Which forecast to trust: chosen on validation windows alone, the simplest where all are alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.forecasting.metrics import rmsse, wape, weekly
from pipelines.forecasting.panel import Floats
from pipelines.forecasting.validation import Window

REFERENCE = "ma56_weekday"
MODEL_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
# The model must be so much better than the best baseline, lest chance decide.
_LEAST_GAIN = 0.01


@dataclass(frozen=True)
class Choice:
    """What the forecast is made of: the model by its weight, and a baseline by the rest.

    Attributes:
        losses: validation loss of each baseline and of the blends tried; see `loss`.
        reason: why, in a sentence.
    """

    baseline: str
    weight: float
    losses: Mapping[str, float]
    reason: str

    def blend(self, baselines: Mapping[str, Floats], model: Floats | None) -> Floats:
        """The forecast, shape (products, horizon)."""
        base = baselines[self.baseline]
        if model is None or self.weight == 0:
            return base
        return self.weight * model + (1 - self.weight) * base

    @property
    def name(self) -> str:
        """What is used, in a word."""
        if self.weight == 0:
            return self.baseline
        if self.weight == 1:
            return "model"
        return f"{self.weight:.0%} model, {1 - self.weight:.0%} {self.baseline}"


def loss(window: Window, forecast: Floats) -> float:
    """Mean of WAPE a day, WAPE a week and RMSSE, each divided by that of `REFERENCE`.

    A metric that is not defined, or zero for the reference, does not count; NaN if none counts, or
    if nothing was sold in the window.
    """
    if not window.actual.any():
        return float("nan")
    own = _metrics(window, forecast)
    reference = _metrics(window, window.baselines[REFERENCE])
    counted = np.isfinite(own) & np.isfinite(reference) & (reference > 0)
    return float((own[counted] / reference[counted]).mean()) if counted.any() else float("nan")


def choose(windows: Sequence[Window], models: Sequence[Floats] | None) -> Choice:
    """Choose baseline and weight.

    Args:
        windows: validation windows.
        models: the model's forecast of each window, or None where there was too little to learn.
    """
    losses = {
        name: _mean([loss(window, window.baselines[name]) for window in windows])
        for name in windows[0].baselines
    }
    if np.isnan(losses[REFERENCE]):
        return Choice(REFERENCE, 0.0, losses, "nothing was sold in the validation windows")
    baseline = min(losses, key=lambda name: losses[name])
    if models is None:
        return Choice(
            baseline,
            0.0,
            losses,
            "the history is too short for the model, or too little sold in it",
        )
    blends = {
        weight: _mean(
            [
                loss(window, weight * model + (1 - weight) * window.baselines[baseline])
                for window, model in zip(windows, models, strict=True)
            ]
        )
        for weight in MODEL_WEIGHTS
    }
    losses |= {f"{weight:.0%} model": value for weight, value in blends.items() if weight}
    weight = min(blends, key=lambda each: blends[each])
    gain = 1 - blends[weight] / losses[baseline] if losses[baseline] else 0.0
    if gain < _LEAST_GAIN:
        return Choice(
            baseline,
            0.0,
            losses,
            f"on the validation windows no blend with the model is {_LEAST_GAIN:.0%} better than "
            f"{baseline}",
        )
    reason = f"on the validation windows its loss is {gain:.1%} below that of {baseline}"
    return Choice(baseline, weight, losses, reason)


def _metrics(window: Window, forecast: Floats) -> Floats:
    return np.array(
        [
            wape(window.actual, forecast),
            wape(weekly(window.actual), weekly(forecast)),
            rmsse(window.actual, forecast, window.scale)[0],
        ]
    )


def _mean(values: list[float]) -> float:
    found = [value for value in values if np.isfinite(value)]
    return float(np.mean(found)) if found else float("nan")
