"""Scores of a forecast, and their means over several origins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from pipelines.forecasting.hierarchy import sums_by
from pipelines.forecasting.metrics import bias, coverage, pinball, rmsse, wape, weekly
from pipelines.forecasting.panel import Floats, Labels
from pipelines.forecasting.quantiles import LEVELS


@dataclass(frozen=True)
class PointScore:
    """How good one forecast is; NaN where a metric is not defined.

    Attributes:
        wape_day, wape_week: pooled over products.
        wape_department: WAPE a day of the departments' sums; None without departments.
        rmsse_undefined: products that RMSSE leaves out.
    """

    wape_day: float
    wape_week: float
    rmsse: float
    bias: float
    wape_department: float | None
    rmsse_undefined: int


@dataclass(frozen=True)
class QuantileScore:
    """How good the quantiles are.

    Attributes:
        pinball: mean quantile loss of p10, p50 and p90, in pieces.
        coverage: share of days from p10 to p90, ends included; 0.8 is meant.
        below, above: share of days below p10 and above p90; 0.1 is meant of each.
    """

    pinball: tuple[float, ...]
    coverage: float
    below: float
    above: float


@dataclass(frozen=True)
class Row:
    """One method at one origin, or its mean over the origins (`origin` None)."""

    origin: np.datetime64 | None
    method: str
    score: PointScore
    quantiles: QuantileScore | None


def point_score(
    actual: Floats, forecast: Floats, scale: Floats, departments: Labels | None
) -> PointScore:
    """Score a forecast, shape (products, horizon)."""
    scaled, undefined = rmsse(actual, forecast, scale)
    return PointScore(
        wape_day=wape(actual, forecast),
        wape_week=wape(weekly(actual), weekly(forecast)),
        rmsse=scaled,
        bias=bias(actual, forecast),
        wape_department=None
        if departments is None
        else wape(sums_by(actual, departments)[1], sums_by(forecast, departments)[1]),
        rmsse_undefined=undefined,
    )


def quantile_score(actual: Floats, quantiles: Sequence[Floats]) -> QuantileScore:
    """Score quantiles of `LEVELS`, each of shape (products, horizon)."""
    low, _, high = quantiles
    return QuantileScore(
        pinball=tuple(
            pinball(actual, values, level) for values, level in zip(quantiles, LEVELS, strict=True)
        ),
        coverage=coverage(actual, low, high),
        below=float((actual < low).mean()),
        above=float((actual > high).mean()),
    )


def means(rows: Sequence[Row]) -> list[Row]:
    """The mean of each method over the origins at which it was scored."""
    found_means = []
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        found = [row.quantiles for row in own if row.quantiles is not None]
        found_means.append(
            Row(
                None,
                method,
                _mean_point([row.score for row in own]),
                _mean_quantiles(found) if found else None,
            )
        )
    return found_means


def _mean_point(scores: Sequence[PointScore]) -> PointScore:
    def mean(name: str) -> float:
        return float(np.mean([getattr(score, name) for score in scores]))

    names = [field.name for field in fields(PointScore)]
    has_departments = scores[0].wape_department is not None
    return PointScore(
        **{name: mean(name) for name in names[:4]},
        wape_department=mean("wape_department") if has_departments else None,
        rmsse_undefined=sum(score.rmsse_undefined for score in scores),
    )


def _mean_quantiles(scores: Sequence[QuantileScore]) -> QuantileScore:
    return QuantileScore(
        pinball=tuple(np.mean([score.pinball for score in scores], axis=0).tolist()),
        coverage=float(np.mean([score.coverage for score in scores])),
        below=float(np.mean([score.below for score in scores])),
        above=float(np.mean([score.above for score in scores])),
    )
