"""How far forecasts lie from what was sold: each metric over products and days of one horizon."""

from __future__ import annotations

import numpy as np

from pipelines.forecasting.panel import Floats, Ints

WEEK = 7


def wape(actual: Floats, forecast: Floats) -> float:
    """Weighted absolute percentage error, pooled: sum of abs(y - f) / sum of y.

    NaN where nothing sold.
    """
    total = float(actual.sum())
    return float(np.abs(actual - forecast).sum()) / total if total else float("nan")


def weekly(values: Floats) -> Floats:
    """Sums of the horizon's blocks of seven days; days after the last whole block are left out.

    Args:
        values: shape (products, days).
    """
    weeks = values.shape[1] // WEEK
    return np.asarray(values[:, : weeks * WEEK].reshape(len(values), weeks, WEEK).sum(axis=2))


def bias(actual: Floats, forecast: Floats) -> float:
    """Sum of forecasts / sum of y - 1; NaN where nothing sold."""
    total = float(actual.sum())
    return float(forecast.sum()) / total - 1 if total else float("nan")


def naive_scale(history: Floats, first: Ints) -> Floats:
    """Mean squared one-step naive error of each product from its first day; NaN if zero or none.

    Args:
        history: what was sold before the forecast, shape (products, days).
        first: index of each product's first day.
    """
    squares = np.diff(history, axis=1) ** 2
    counted = np.arange(squares.shape[1]) >= first[:, None]
    steps = counted.sum(axis=1)
    mean = (squares * counted).sum(axis=1) / np.maximum(steps, 1)
    return np.where((steps > 0) & (mean > 0), mean, np.nan)


def rmsse(actual: Floats, forecast: Floats, scale: Floats) -> tuple[float, int]:
    """Root mean squared scaled error, mean over products (Hyndman and Koehler 2006; M5).

    Args:
        scale: `naive_scale` of each product.

    Returns:
        The mean over products with a scale (NaN if there are none), and how many were left out.
    """
    defined = np.isfinite(scale)
    if not defined.any():
        return float("nan"), len(scale)
    errors = ((actual - forecast) ** 2).mean(axis=1)[defined] / scale[defined]
    return float(np.sqrt(errors).mean()), int((~defined).sum())


def pinball(actual: Floats, quantile: Floats, level: float) -> float:
    """Mean quantile loss (Koenker and Bassett 1978), in pieces a day."""
    short = actual - quantile
    return float(np.maximum(level * short, (level - 1) * short).mean())


def coverage(actual: Floats, low: Floats, high: Floats) -> float:
    """Share of days that lie in the interval, its ends included."""
    return float(((actual >= low) & (actual <= high)).mean())
