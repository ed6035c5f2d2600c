"""Small made-up sales for the tests of forecasting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from pipelines.forecasting.boosting import BoostingConfig
from pipelines.forecasting.lines import panel_of
from pipelines.forecasting.model import ForecastConfig
from pipelines.forecasting.panel import Floats, Panel

START = np.datetime64("2024-01-01")  # a Monday
FEW_TREES = BoostingConfig(trees=30, learning_rate=0.15, leaves=15, least_rows_in_leaf=20)
SMALL = ForecastConfig(horizon=14, boosting=FEW_TREES)


def lines_of(quantity: Floats, **columns: list[object]) -> pa.Table:
    """A row for each product and day; `columns` hold one value a product."""
    count, days = quantity.shape
    dates = START + np.arange(days)
    return pa.table(
        {
            "product_id": np.repeat([f"p{row:03d}" for row in range(count)], days),
            "date": pa.array(np.tile(dates, count)),
            "quantity": quantity.ravel(),
        }
        | {name: pa.array(np.repeat(values, days)) for name, values in columns.items()}
    )


def panel_from(quantity: Floats, plan: dict[str, Floats] | None = None) -> Panel:
    """A panel of such sales; `plan` may reach beyond them."""
    count = len(quantity)
    departments = [f"d{row % 3}" for row in range(count)]
    panel = panel_of(lines_of(quantity, department=departments))
    return replace(panel, plan=plan or {})


def promoted_sales(products: int = 24, days: int = 230, seed: int = 1) -> tuple[Floats, Floats]:
    """Sales that quadruple on promoted days, and the promotions: both (products, days)."""
    random = np.random.default_rng(seed)
    weeks = random.random((products, -(-days // 7))) < 0.2
    promoted = np.repeat(weeks, 7, axis=1)[:, :days].astype(float)
    usual = random.uniform(1, 6, products)[:, None]
    weekend = np.where(np.arange(days) % 7 >= 5, 1.6, 1.0)
    return random.poisson(usual * weekend * (1 + 3 * promoted)).astype(float), promoted
