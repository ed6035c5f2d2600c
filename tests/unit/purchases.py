"""Purchases that are made up by a rule, for the tests of recommendations."""

from __future__ import annotations

import numpy as np
import pandas as pd

BEGIN = pd.Timestamp("2024-01-01")
DAYS = 150


def habits(clients: int = 80, seed: int = 1) -> pd.DataFrame:
    """Clients of four tastes who come every week and mostly buy what they bought before."""
    random = np.random.default_rng(seed)
    rows = []
    for client in range(clients):
        taste = client % 4
        favourites = taste * 15 + random.choice(15, 5, replace=False)
        for day in range(int(random.integers(0, 7)), DAYS, 7):
            bought = favourites[random.random(5) < 0.6].tolist()
            bought += [taste * 15 + int(random.integers(15)), int(random.integers(60, 70))]
            rows += [(f"c{client:03}", f"p{product:02}", day, client) for product in bought]
    return _frame(rows)


def films(clients: int = 100, seed: int = 2) -> pd.DataFrame:
    """Nobody buys anything twice, and what is bought has no pattern but popularity."""
    random = np.random.default_rng(seed)
    weight = 1 / np.arange(1, 81)
    rows = []
    for client in range(clients):
        seen = random.choice(80, 14, replace=False, p=weight / weight.sum())
        days = np.sort(random.integers(0, DAYS, 14))
        rows += [
            (f"c{client:03}", f"p{product:02}", int(day), client)
            for product, day in zip(random.permutation(seen), days, strict=True)
        ]
    return _frame(rows)


def _frame(rows: list[tuple[str, str, int, int]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["client_id", "product_id", "day", "minute"])
    at = BEGIN + pd.to_timedelta(frame["day"], "D") + pd.to_timedelta(frame["minute"], "min")
    return frame[["client_id", "product_id"]].assign(at=at)
