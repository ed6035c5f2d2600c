"""How well the pipeline would have forecast past days: several origins, all methods beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.errors import LakehouseError
from pipelines.forecasting.model import Forecast, ForecastConfig, forecast
from pipelines.forecasting.panel import Floats, Labels, Panel
from pipelines.forecasting.scores import PointScore, Row, means, point_score, quantile_score
from pipelines.forecasting.selection import Choice
from pipelines.forecasting.validation import (
    LEAST_HISTORY_DAYS,
    Window,
    validation_windows,
    window_at,
)

PIPELINE = "pipeline"
MODEL = "model"
WITHOUT_PLAN = " without plan"


@dataclass(frozen=True)
class Backtest:
    """What a backtest has found.

    Attributes:
        rows: per origin, then the means.
        products: how many were forecast, per origin.
        choices: what the pipeline would have used at each origin, by its validation windows.
    """

    horizon: int
    rows: list[Row]
    products: dict[np.datetime64, int]
    choices: dict[np.datetime64, Choice]


def origins_before(panel: Panel, horizon: int, count: int) -> list[int]:
    """The last `count` origins whose horizon is known, a horizon apart, latest first.

    Raises:
        LakehouseError: the history does not hold so many after the days that a forecast needs.
    """
    least = LEAST_HISTORY_DAYS + horizon
    most = (panel.days - least) // horizon
    if most < count:
        raise LakehouseError(
            f"{panel.days} days of sales hold {max(most, 0)} origins of {horizon} days, "
            f"for the first needs {least} days before it; asked for are {count}",
            "give a longer history, or ask for fewer origins or a shorter horizon",
        )
    return [panel.days - 1 - horizon * number for number in range(1, count + 1)]


def backtest(
    panel: Panel,
    origins: Sequence[int],
    config: ForecastConfig,
    *,
    top: int | None = None,
    done: Callable[[np.datetime64], None] = lambda origin: None,
) -> Backtest:
    """Forecast from each origin by what was known then, and score it by what came.

    Args:
        origins: indices of days of the panel, each with the whole horizon after it.
        top: forecast the best sellers up to each origin alone, so many.
        done: called after each origin.

    Raises:
        LakehouseError: nothing was sold after an origin, or see `forecast`.
    """
    rows: list[Row] = []
    products, choices = {}, {}
    for origin in origins:
        day = panel.day(origin)
        known = panel.until(origin, ahead=config.horizon)
        chosen = np.flatnonzero(panel.first <= origin)
        if top is not None:
            chosen = chosen[known.best(top)]
            known = panel.select(chosen).until(origin, ahead=config.horizon)
        target = window_at(panel.select(chosen), origin, config.horizon)
        if not target.actual.any():
            raise LakehouseError(
                f"nothing was sold in the {config.horizon} days after {day}: no error is defined",
                "end the backtest earlier, or give data with sales to its end",
            )
        departments = known.attributes.get("department")
        made = _forecasts(known, config, target.baselines)
        rows += _scored(day, target, made, departments)
        products[day], choices[day] = len(chosen), made[0].choice
        done(day)
    return Backtest(config.horizon, rows + means(rows), products, choices)


def _forecasts(
    known: Panel, config: ForecastConfig, baselines: Mapping[str, Floats]
) -> list[Forecast]:
    """With all that is known and, where there is a plan, without it."""
    windows = validation_windows(known, config.horizon, config.validation_windows)
    panels = [known, known.without_plan()] if known.plan else [known]
    return [forecast(panel, config, windows=windows, baselines=baselines) for panel in panels]


def _scored(
    day: np.datetime64, target: Window, made: Sequence[Forecast], departments: Labels | None
) -> Iterator[Row]:
    def score(values: Floats) -> PointScore:
        return point_score(target.actual, values, target.scale, departments)

    for name, values in target.baselines.items():
        yield Row(day, name, score(values), None)
    for one, suffix in zip(made, ("", WITHOUT_PLAN), strict=False):
        if one.model is not None:
            yield Row(day, MODEL + suffix, score(one.model), None)
        yield Row(
            day,
            PIPELINE + suffix,
            score(one.mean),
            quantile_score(target.actual, (one.p10, one.p50, one.p90)),
        )
