"""Quantiles about a forecast, from how far it lay off on the validation windows.

The residual of a day is divided by the spread that a count of its size and its product's usual
unsteadiness would have; quantiles of these scaled residuals, for small and large forecasts apart,
are put about the new forecast. A split-conformal scheme (Lei et al. 2018, §5.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.forecasting.panel import Floats

LEVELS = (0.1, 0.5, 0.9)
_BINS = 12
_LEAST_ROWS_IN_BIN = 200
_DISPERSION_DAYS = 112
_LEAST = 0.01


def dispersion(quantity: Floats) -> Floats:
    """Variance over mean of each product's last 112 days, shape (products,); 1 as of Poisson.

    Few sales tell little: each product has a week of Poisson days beside its own.
    """
    recent = quantity[:, -_DISPERSION_DAYS:]
    days = recent.shape[1]
    mean = np.maximum(recent.mean(axis=1), _LEAST)
    ratio = recent.var(axis=1) / mean
    return np.asarray(np.maximum((ratio * days + 7.0) / (days + 7.0), 0.1))


@dataclass(frozen=True)
class ResidualQuantiles:
    """Quantiles of scaled residuals by the size of the forecast.

    Attributes:
        centres: log of the forecast in the middle of each bin, rising, shape (bins,).
        values: quantile of each level in each bin, shape (levels, bins).
    """

    centres: Floats
    values: Floats

    def about(self, forecast: Floats, dispersions: Floats) -> Floats:
        """Quantiles of `LEVELS` about a forecast: never negative, never crossing.

        Args:
            forecast: expected pieces, shape (products, horizon).
            dispersions: of each product, shape (products,).

        Returns:
            Shape (levels, products, horizon).
        """
        place = np.log(np.maximum(forecast, _LEAST))
        spread = _spread(forecast, dispersions)
        found = np.stack(
            [forecast + spread * np.interp(place, self.centres, row) for row in self.values]
        )
        return np.sort(np.maximum(found, 0.0), axis=0)


def calibrate(
    actual: Floats, forecast: Floats, dispersions: Floats, counted: npt.NDArray[np.bool_]
) -> ResidualQuantiles:
    """Learn from validation windows.

    Args:
        actual: what was sold, shape (rows, horizon).
        forecast: what was forecast beforehand, likewise.
        dispersions: of the product of each row as of then, shape (rows,).
        counted: whether a day tells anything of residuals, shape (rows, horizon).
    """
    scaled = ((actual - forecast) / _spread(forecast, dispersions))[counted]
    place = np.log(np.maximum(forecast, _LEAST))[counted]
    order = np.argsort(place, kind="stable")
    bins = np.array_split(order, max(1, min(_BINS, len(order) // _LEAST_ROWS_IN_BIN)))
    return ResidualQuantiles(
        centres=np.array([np.median(place[rows]) for rows in bins]),
        values=np.stack([np.quantile(scaled[rows], LEVELS) for rows in bins], axis=1),
    )


def _spread(forecast: Floats, dispersions: Floats) -> Floats:
    return np.asarray(np.sqrt(np.maximum(forecast, _LEAST) * dispersions[:, None]))
