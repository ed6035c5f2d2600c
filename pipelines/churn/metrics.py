"""How good probabilities are: log loss, Brier, AUC, average precision, calibration; intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from pipelines.churn.snapshots import Codes, Floats, Mask

_BINS = 10
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A metric and the bootstrap interval around it (95 %)."""

    value: float
    low: float
    high: float


def log_loss(churned: Mask, probability: Floats) -> Floats:
    """-log of the probability that was given to what came, shape (rows,)."""
    return np.asarray(-np.log(np.where(churned, probability, 1 - probability)))


def brier(churned: Mask, probability: Floats) -> Floats:
    """Squared error of the probability (Brier 1950), shape (rows,)."""
    return np.asarray((probability - churned) ** 2)


def auc(churned: Mask, probability: Floats) -> float:
    """Chance that a lost client was given more than a kept one; ties count half.

    NaN where all are lost or all are kept.
    """
    lost = int(churned.sum())
    pairs = lost * (len(churned) - lost)
    if not pairs:
        return float("nan")
    return float((rankdata(probability)[churned].sum() - lost * (lost + 1) / 2) / pairs)


def average_precision(churned: Mask, probability: Floats) -> float:
    """Mean, over lost clients, of the share of lost ones among all given as much or more.

    NaN where nobody is lost.
    """
    if not churned.any():
        return float("nan")
    order = np.argsort(-probability, kind="stable")
    # Of equal probabilities, all are taken or none.
    ends = np.searchsorted(-probability[order], -probability[order], side="right")
    lost = np.cumsum(churned[order])[ends - 1]
    return float((lost / ends)[churned[order]].mean())


def calibration_error(churned: Mask, probability: Floats) -> float:
    """Mean distance of what was expected from what came, over ten bins of equally many rows.

    Chance alone makes it more than zero: up to 0.8 · √(p (1 - p) / rows of a bin).
    """
    order = np.argsort(probability, kind="stable")
    bins = np.array_split(order, min(_BINS, len(order)))
    gaps = [len(rows) * abs(probability[rows].mean() - churned[rows].mean()) for rows in bins]
    return float(sum(gaps) / len(order))


METRICS: dict[str, Callable[[Mask, Floats], float]] = {
    "log_loss": lambda churned, probability: float(log_loss(churned, probability).mean()),
    "brier": lambda churned, probability: float(brier(churned, probability).mean()),
    "auc": auc,
    "average_precision": average_precision,
    "calibration_error": calibration_error,
}


def estimate(
    churned: Mask, probability: Floats, client: Codes, *, draws: int = 1000, seed: int = 0
) -> dict[str, Estimate]:
    """All metrics, with percentile bootstrap over clients (Efron and Tibshirani 1993, chapter 13).

    Args:
        client: whose row it is, shape (rows,): all rows of a client are drawn together.
    """
    drawn = [(churned[rows], probability[rows]) for rows in resamples(client, draws, seed)]
    return {
        name: Estimate(metric(churned, probability), *_interval([metric(*one) for one in drawn]))
        for name, metric in METRICS.items()
    }


def mean_estimate(loss: Floats, client: Codes, *, draws: int = 1000, seed: int = 0) -> Estimate:
    """Mean of a loss, or of the difference of two models' losses on the same rows (paired)."""
    means = [float(loss[rows].mean()) for rows in resamples(client, draws, seed)]
    return Estimate(float(loss.mean()), *_interval(means))


def resamples(client: Codes, draws: int, seed: int) -> list[Codes]:
    """Rows of each draw: as many clients as there are, drawn with replacement."""
    _, code = np.unique(client, return_inverse=True)
    random = np.random.default_rng(seed)
    rows, count = np.arange(len(code)), int(code.max()) + 1
    return [
        np.repeat(rows, np.bincount(random.integers(0, count, count), minlength=count)[code])
        for _ in range(draws)
    ]


def _interval(values: list[float]) -> tuple[float, float]:
    """Draws in which a metric is not defined, as nobody is lost in them, do not count."""
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.nanquantile(values, (tail, 1 - tail))
    return float(low), float(high)
