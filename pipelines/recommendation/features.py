"""Features: what a ranker knows of a pair, on scales that a linear model can add up."""

from __future__ import annotations

import numpy as np

from pipelines.recommendation.evidence import Evidence
from pipelines.recommendation.interactions import Codes
from pipelines.recommendation.pairs import LONG, MIDDLE, SHORT, Floats

_MOST_DUE = 10.0


def features(
    evidence: Evidence, client: Codes, product: Codes, at: Codes, scores: dict[str, Floats]
) -> dict[str, Floats]:
    """Features by name, each of shape (rows,) and never NaN.

    Args:
        client, product: codes of the pairs.
        at: where each pair stands among those bought, -1 where it was never bought.
        scores: what each source gives to each pair.
    """
    clients = evidence.clients
    found = {
        name: np.sqrt(np.maximum(each, 0)) for name, each in scores.items() if name != "buy_again"
    }
    found |= _of_product(evidence, product)
    found |= _of_pair(evidence, client, at)
    bought = (at >= 0).astype(np.float32)
    found["recent_baskets"] = np.log1p(clients.recent_baskets[client])
    # A figure of the client alone orders nothing within their list; with the pair it does.
    found["bought_by_recent_baskets"] = bought * found["recent_baskets"]
    found["bought_by_products"] = bought * np.log1p(clients.products[client])
    found["bought_by_curiosity"] = bought * clients.curiosity[client]
    found["bought_by_loyalty"] = bought * found["loyalty"]
    return {name: each.astype(np.float32) for name, each in found.items()}


def _of_product(evidence: Evidence, product: Codes) -> dict[str, Floats]:
    popular = evidence.popularity
    return {
        "rising": popular.rising[product],
        "loyalty": popular.loyalty[product],
        "newcomers": np.log1p(popular.newcomers[product]),
        "buyers": np.log1p(popular.buyers[product]),
        "idle": np.log1p(popular.idle[product]),
    }


def _of_pair(evidence: Evidence, client: Codes, at: Codes) -> dict[str, Floats]:
    """Counts, recency and cadence; all 0 for what was never bought."""
    pairs, bought = evidence.pairs, at >= 0
    known = at[bought]
    count, last, first = pairs.count[known], pairs.last[known], pairs.first[known]
    habit = count / evidence.clients.baskets[client[bought]]
    once = count == 1
    gap = np.where(once, 0, (first - last) / np.maximum(count - 1, 1))
    due = np.where(once, 0, np.minimum(last / np.maximum(gap, 1), _MOST_DUE))
    figures = {
        "bought": np.ones_like(habit),
        "bought_once": once,
        "decayed_short": np.log1p(pairs.decayed[SHORT][known]),
        "decayed_middle": np.log1p(pairs.decayed[MIDDLE][known]),
        "decayed_middle_root": np.sqrt(pairs.decayed[MIDDLE][known]),
        "decayed_long": np.log1p(pairs.decayed[LONG][known]),
        "count": np.log1p(count),
        "habit": habit,
        "habit_root": np.sqrt(habit),
        "last": np.log1p(last),
        "first": np.log1p(first),
        "visits_since": np.log1p(pairs.visits_since[known]),
        "gap": np.log1p(gap),
        "due": np.log1p(due),
    }
    found = {name: np.zeros(len(at), dtype=np.float32) for name in figures}
    for name, each in figures.items():
        found[name][bought] = each
    return found
