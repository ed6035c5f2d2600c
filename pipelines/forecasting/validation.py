"""Validation windows: the last weeks of a panel's history, forecast as though they lay ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.errors import LakehouseError
from pipelines.forecasting.baselines import by_baselines
from pipelines.forecasting.calendar import is_closed
from pipelines.forecasting.metrics import naive_scale
from pipelines.forecasting.panel import Floats, Ints, Panel

LEAST_HISTORY_DAYS = 56


@dataclass(frozen=True)
class Window:
    """One window of the horizon's length, of the products that had sold before it.

    Attributes:
        origin: index of the last day before the window.
        rows: the products' rows in the panel, shape (products,).
        actual: what was sold, shape (products, horizon).
        scale: RMSSE's scale of each product as of the origin, shape (products,).
        baselines: forecast of each baseline as of the origin, shape (products, horizon).
        closed: days on which no shop opened, shape (horizon,).
    """

    origin: int
    rows: Ints
    actual: Floats
    scale: Floats
    baselines: Mapping[str, Floats]
    closed: npt.NDArray[np.bool_]


def window_at(panel: Panel, origin: int, horizon: int) -> Window:
    """The window that follows a day of the panel, with every baseline's forecast of it."""
    rows = np.flatnonzero(panel.first <= origin)
    known = panel.until(origin, ahead=horizon)
    actual = panel.quantity[rows, origin + 1 : origin + 1 + horizon]
    told = is_closed(panel.day(origin + 1) + np.arange(horizon), panel.closed)
    return Window(
        origin=origin,
        rows=rows,
        actual=actual,
        scale=naive_scale(known.quantity, known.first),
        baselines=by_baselines(known, horizon),
        closed=told & ~actual.any(axis=0),
    )


def validation_windows(panel: Panel, horizon: int, count: int) -> list[Window]:
    """The last `count` windows of the history, latest first; fewer where it is too short.

    Raises:
        LakehouseError: the history does not even hold one window after eight weeks, or no product
            had sold before one.
    """
    origins = [panel.days - 1 - horizon * number for number in range(1, count + 1)]
    chosen = [origin for origin in origins if origin + 1 >= LEAST_HISTORY_DAYS]
    if not chosen:
        raise LakehouseError(
            f"{panel.days} days of sales up to {panel.last} are too few to forecast {horizon} days",
            f"give at least {LEAST_HISTORY_DAYS + horizon} days, or ask for a shorter horizon",
        )
    begun = [origin for origin in chosen if (panel.first <= origin).any()]
    if not begun:
        raise LakehouseError(
            f"every product is new: none had sold by {panel.day(chosen[0])}, {horizon} days before "
            f"{panel.last}",
            "give an earlier history, or ask for a shorter horizon",
        )
    return [window_at(panel, origin, horizon) for origin in begun]
