"""Why a client is at risk, in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pipelines.churn.snapshots import Floats

NOTHING = "nothing unusual"
# Where the client has less of it than the median client, and where more.
_WORDS = {
    "tenure_days": ("new client", "long-standing client"),
    "recency_days": ("bought lately", "long since the last purchase"),
    "order_count": ("few orders ever", "many orders ever"),
    "order_count_28d": ("few orders in 4 weeks", "many orders in 4 weeks"),
    "order_count_84d": ("few orders in 12 weeks", "many orders in 12 weeks"),
    "net_amount": ("little spent ever", "much spent ever"),
    "net_amount_28d": ("little spent in 4 weeks", "much spent in 4 weeks"),
    "net_amount_84d": ("little spent in 12 weeks", "much spent in 12 weeks"),
    "quantity_84d": ("few pieces in 12 weeks", "many pieces in 12 weeks"),
    "mean_gap_days": ("short gaps between visits", "long gaps between visits"),
    "gap_deviation_days": ("regular visits", "irregular visits"),
    "mean_basket_amount_84d": ("cheap baskets", "dear baskets"),
    "mean_basket_lines_84d": ("small baskets", "large baskets"),
    "product_count": ("few different products", "many different products"),
    "department_count_84d": ("few departments", "many departments"),
    "promo_share_84d": ("few promotions", "many promotions"),
}


def main_reasons(
    values: Floats,
    median: Floats,
    names: Sequence[str],
    score: Callable[[Floats], Floats],
) -> list[str]:
    """What raises each client's score most: by how much it falls if that were as of the median.

    Who is at no more risk than the median client has no reason to be lost: "nothing unusual".

    Args:
        values: features, shape (rows, features).
        median: of the median client, shape (features,).
        score: of rows of features.
    """
    own = score(values)
    is_riskier = own > score(median[None, :])
    rises = np.empty_like(values)
    for column in range(values.shape[1]):
        usual = values.copy()
        usual[:, column] = median[column]
        rises[:, column] = own - score(usual)
    most = rises.argmax(axis=1)
    found = values[np.arange(len(values)), most]
    return [
        _word(names[column], value, median[column]) if riskier else NOTHING
        for column, value, riskier in zip(most, found, is_riskier, strict=True)
    ]


def _word(name: str, value: float, median: float) -> str:
    plain = name.replace("_", " ")
    if np.isnan(value):
        return f"{plain} unknown"
    less, more = _WORDS.get(name, (f"low {plain}", f"high {plain}"))
    return less if value < median else more
