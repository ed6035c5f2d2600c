"""Features: what a ranker knows of a pair, on scales that a linear model can add up."""

from __future__ import annotations

import numpy as np

from pipelines.recommendation.evidence import Evidence
from pipelines.recommendation.interactions import Codes
from pipelines.recommendation.pairs import LONG, MIDDLE, SHORT, Floats
from pipelines.recommendation.signals.popularity import RECENT_DAYS

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
    habits = _client_figures(evidence)
    found = {
        name: np.sqrt(np.maximum(each, 0)) for name, each in scores.items() if name != "buy_again"
    }
    found |= _of_product(evidence, product)
    found |= _of_pair(evidence, client, at, habits["baskets"])
    bought = (at >= 0).astype(np.float32)
    found["recent_baskets"] = np.log1p(habits["recent_baskets"][client])
    # A figure of the client alone orders nothing within their list; with the pair it does.
    for name in ("recent_baskets", "products"):
        found[f"bought_by_{name}"] = bought * np.log1p(habits[name][client])
    found["bought_by_curiosity"] = bought * habits["curiosity"][client]
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


def _of_pair(evidence: Evidence, client: Codes, at: Codes, baskets: Floats) -> dict[str, Floats]:
    """Counts, recency and cadence; all 0 for what was never bought."""
    pairs = evidence.pairs
    bought = at >= 0
    gap = pairs.gap
    once = np.isnan(gap)
    due = np.minimum(pairs.last / np.maximum(gap, 1), _MOST_DUE)
    habit = pairs.count / baskets[pairs.client]
    figures = {
        "bought": np.ones_like(habit),
        "bought_once": once,
        "decayed_short": np.log1p(pairs.decayed[SHORT]),
        "decayed_middle": np.log1p(pairs.decayed[MIDDLE]),
        "decayed_middle_root": np.sqrt(pairs.decayed[MIDDLE]),
        "decayed_long": np.log1p(pairs.decayed[LONG]),
        "count": np.log1p(pairs.count),
        "habit": habit,
        "habit_root": np.sqrt(habit),
        "last": np.log1p(pairs.last),
        "first": np.log1p(pairs.first),
        "visits_since": np.log1p(pairs.visits_since),
        "gap": np.where(once, 0, np.log1p(np.nan_to_num(gap))),
        "due": np.where(once, 0, np.log1p(np.nan_to_num(due))),
    }
    return {name: np.where(bought, each[at], 0) for name, each in figures.items()}


def _client_figures(evidence: Evidence) -> dict[str, Floats]:
    """Figures of clients, each of shape (clients,)."""
    history, pairs = evidence.history, evidence.pairs

    def count(clients: Codes) -> Floats:
        return np.bincount(clients, minlength=pairs.shape[0]).astype(np.float64)

    firsts = np.unique(history.basket, return_index=True)[1]
    owner = history.client[firsts]
    age = history.as_of[owner] - history.day[firsts]
    recent = count(pairs.client[pairs.last < RECENT_DAYS])
    fresh = count(pairs.client[pairs.first < RECENT_DAYS])
    return {
        "baskets": count(owner),
        "recent_baskets": count(owner[age < RECENT_DAYS]),
        "products": count(pairs.client),
        "curiosity": fresh / np.maximum(recent, 1),
    }
