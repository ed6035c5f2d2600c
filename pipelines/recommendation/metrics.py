"""How good ranked lists are: Recall, NDCG and MAP at k per client, coverage, intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.recommendation.interactions import Codes, Mask

PER_CLIENT = ("recall", "ndcg", "map")
_DRAWS = 1000
_CONFIDENCE = 0.95

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean over clients and the bootstrap interval around it (95 %)."""

    mean: float
    low: float
    high: float


def hits(recommended: Codes, client: Codes, product: Codes, products: int) -> Mask:
    """Which recommended products are relevant.

    Args:
        recommended: product codes by rank, shape (clients, k); -1 where a list is shorter.
        client, product: the relevant pairs, shape (pairs,); an unknown product is -1.
        products: how many products there are.
    """
    relevant = np.unique((client * products + product)[product >= 0])
    asked = np.arange(len(recommended))[:, None] * products + recommended
    return np.isin(asked, relevant) & (recommended >= 0)


def per_client(hit: Mask, relevant: Codes) -> dict[str, Scores]:
    """Recall, NDCG and MAP at k of each client that has relevant products.

    Recall is hits over all relevant products, though they be more than k. NDCG has binary gains
    and the discount 1 / log2(rank + 1); its ideal list holds min(k, relevant) hits (Järvelin and
    Kekäläinen 2002). MAP is the sum of the precisions at the hits over min(k, relevant).

    Args:
        hit: shape (clients, k).
        relevant: number of relevant products a client, shape (clients,).
    """
    asked = relevant > 0
    hit, relevant = hit[asked], relevant[asked]
    ranks = np.arange(1, hit.shape[1] + 1)
    discount = 1 / np.log2(ranks + 1)
    best = np.minimum(relevant, hit.shape[1])
    precision = np.cumsum(hit, axis=1) / ranks
    return {
        "recall": hit.sum(axis=1) / relevant,
        "ndcg": (hit * discount).sum(axis=1) / np.cumsum(discount)[best - 1],
        "map": (hit * precision).sum(axis=1) / best,
    }


def coverage(recommended: Codes, products: int) -> float:
    """Share of the catalogue that is recommended to at least one client."""
    return len(np.unique(recommended[recommended >= 0])) / products


def estimate(scores: Scores, seed: int = 0) -> Estimate:
    """Mean and percentile bootstrap over clients (Efron and Tibshirani 1993, chapter 13)."""
    draws = np.random.default_rng(seed)
    means = [scores[draws.integers(0, len(scores), len(scores))].mean() for _ in range(_DRAWS)]
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return Estimate(float(scores.mean()), float(low), float(high))
