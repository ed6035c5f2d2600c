"""A small shop whose clients come at a pace of their own, until some come no more."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from pipelines.churn.config import BoostingConfig, ChurnConfig

START = np.datetime64("2024-01-01")
DAYS = 300
KNOWN_UNTIL = date(2024, 10, 26)
FEATURES = ("tenure_days", "recency_days", "order_count_84d", "net_amount_84d", "mean_gap_days")
SMALL = ChurnConfig(
    features=FEATURES,
    horizon_days=28,
    at_risk_days=28,
    warm_up_days=28,
    validation_days=28,
    boosting=BoostingConfig(trees=30, least_rows_in_leaf=50),
)


def shop(clients: int = 400, days: int = DAYS, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Weekly snapshots and days of purchases; how often a client comes tells when it is missed."""
    random = np.random.default_rng(seed)
    pace = np.exp(random.normal(np.log(0.12), 0.8, clients)).clip(0.03, 0.8)
    visits = random.random((clients, days)) < pace[:, None]
    visits &= np.arange(days) < random.exponential(400, clients)[:, None]
    return snapshots_of(visits), purchases_of(visits)


def purchases_of(visits: np.ndarray) -> pd.DataFrame:
    """Shape (clients, days) as rows."""
    client, day = np.nonzero(visits)
    return pd.DataFrame({"client_id": client + 1, "purchase_date": START + day})


def snapshots_of(visits: np.ndarray) -> pd.DataFrame:
    """On every seventh day, of who has bought."""
    parts = []
    for day in range(6, visits.shape[1], 7):
        known = visits[:, : day + 1]
        bought = np.flatnonzero(known.any(axis=1))
        known = known[bought]
        first, last = known.argmax(axis=1), day - known[:, ::-1].argmax(axis=1)
        count, late = known.sum(axis=1), known[:, -84:].sum(axis=1)
        parts.append(
            pd.DataFrame(
                {
                    "client_id": bought + 1,
                    "feature_date": START + day,
                    "tenure_days": day - first,
                    "recency_days": day - last,
                    "order_count_84d": late,
                    "net_amount_84d": late * 20.0,
                    # Undefined for a single visit.
                    "mean_gap_days": np.where(
                        count > 1, (last - first) / np.maximum(count - 1, 1), np.nan
                    ),
                }
            )
        )
    table = pd.concat(parts, ignore_index=True)
    # As they come from a lake: dates, not moments.
    return table.astype({"feature_date": "datetime64[s]"})


def changed(table: pd.DataFrame, row: int, **values: Any) -> pd.DataFrame:
    """The same table with one row changed."""
    other = table.astype({name: object for name, new in values.items() if new is None})
    for name, new in values.items():
        other.loc[row, name] = new
    return other
