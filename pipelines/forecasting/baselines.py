"""Forecasts that any model must beat, and that the pipeline falls back to.

All take a panel and give pieces a day, shape (products, horizon), never negative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias

import numpy as np
from statsforecast.models import Theta

from pipelines.forecasting.calendar import weekday
from pipelines.forecasting.panel import Floats, Ints, Panel
from pipelines.forecasting.totals import Totals

Baseline: TypeAlias = Callable[[Panel, int], Floats]
SEASON = 7
LEVEL_DAYS = 56
_PROFILE_DAYS = 84
# A mean over fewer days of a new product would take its first sale for its usual day.
_LEAST_DAYS = 7


def level(quantity: Floats, first: Ints, origin: int, days: int) -> Floats:
    """Mean pieces a day over the last `days` up to `origin`, or over a new product's own days."""
    lived = np.clip(origin + 1 - first, _LEAST_DAYS, days)
    return np.asarray(
        quantity[:, max(0, origin + 1 - days) : origin + 1].sum(axis=1)
        / np.minimum(lived, origin + 1)
    )


def weekday_profile(quantity: Floats, weekdays: Ints, origin: int) -> Floats:
    """How the products' sum spreads over a week: seven factors with mean 1; all 1 if none sold.

    Args:
        quantity: pieces of all products, shape (days,).
        weekdays: weekday of each day of the panel, at least up to the origin.
    """
    since = max(0, origin + 1 - _PROFILE_DAYS)
    total = quantity[since : origin + 1]
    which = weekdays[since : origin + 1]
    days = np.bincount(which, minlength=SEASON)
    sums = np.bincount(which, weights=total, minlength=SEASON)
    if not days.all() or not sums.any():
        return np.ones(SEASON)
    means = sums / days
    return np.asarray(means / means.mean())


def seasonal_naive(panel: Panel, horizon: int) -> Floats:
    """The last week, again and again."""
    week = panel.quantity[:, -SEASON:]
    return np.tile(week, (1, -(-horizon // SEASON)))[:, :horizon]


def moving_average(panel: Panel, horizon: int) -> Floats:
    """The mean of the last 28 days."""
    mean = level(panel.quantity, panel.first, panel.days - 1, 28)
    return np.repeat(mean[:, None], horizon, axis=1)


def weekday_average(panel: Panel, horizon: int, totals: Totals | None = None) -> Floats:
    """The mean of the last 56 days, times the weekday profile of all products together.

    Args:
        totals: of all products, where the panel holds a part of them.
    """
    origin = panel.days - 1
    days = weekday(panel.start + np.arange(panel.days + horizon))
    sold = panel.quantity.sum(axis=0) if totals is None else totals.quantity
    profile = weekday_profile(sold, days, origin)
    mean = level(panel.quantity, panel.first, origin, LEVEL_DAYS)
    return mean[:, None] * profile[days[origin + 1 :]][None, :]


def weekday_means(panel: Panel, horizon: int) -> Floats:
    """The product's own mean of the last eight days of the same weekday."""
    recent = panel.quantity[:, -LEVEL_DAYS:]
    padded = np.pad(recent, ((0, 0), (LEVEL_DAYS - recent.shape[1], 0)))
    lived = np.clip(panel.days - panel.first, SEASON, LEVEL_DAYS)
    week = padded.reshape(len(recent), -1, SEASON).sum(axis=1) * SEASON / lived[:, None]
    return np.tile(week, (1, -(-horizon // SEASON)))[:, :horizon]


def theta(panel: Panel, horizon: int) -> Floats:
    """The Theta method with a weekly season, each product from its first day.

    Assimakopoulos and Nikolopoulos (2000), as in statsforecast. A product younger than three weeks
    gets its mean.
    """
    forecast = moving_average(panel, horizon)
    method = Theta(season_length=SEASON)
    for row in range(len(panel.products)):
        history = panel.quantity[row, panel.first[row] :]
        if len(history) >= 3 * SEASON and history.any():
            forecast[row] = method.forecast(history, horizon)["mean"]
    return np.maximum(forecast, 0.0)


BASELINES: dict[str, Baseline] = {
    "seasonal_naive": seasonal_naive,
    "ma28": moving_average,
    "ma56_weekday": weekday_average,
    "weekday_means": weekday_means,
    "theta": theta,
}


def by_baselines(
    panel: Panel,
    horizon: int,
    totals: Totals | None = None,
    names: Iterable[str] = tuple(BASELINES),
) -> dict[str, Floats]:
    """The forecast of each of `BASELINES`, or of some.

    Args:
        totals: of all products, where the panel holds a part of them.
    """
    made = BASELINES | {"ma56_weekday": partial(weekday_average, totals=totals)}
    return {name: made[name](panel, horizon) for name in names}
