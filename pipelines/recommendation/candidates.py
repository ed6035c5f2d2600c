"""Candidates: per client the products worth ranking, and what each source says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.recommendation.evidence import Evidence
from pipelines.recommendation.features import features
from pipelines.recommendation.interactions import Codes, Mask
from pipelines.recommendation.pairs import MIDDLE, Floats

# Sources by reason code; the more personal come first, and win where two say the same.
SOURCES = (
    "buy_again", "clients_like_you", "bought_together", "taste", "similar_product", "popular"
)  # fmt: skip
# Per client: of what they bought, and per source of what is new to them and of all.
_BOUGHT, _NEW, _BEST = 120, 40, 20
# Lets what is popular fill the list of one who bought little.
_FILL = 0.02


@dataclass(frozen=True)
class Candidates:
    """One row per pair of client and product, sorted by client, then product.

    Attributes:
        is_new: whether the client has never bought the product.
        scores: what each source gives, by reason code; similar_product only with a catalogue.
        features: what a ranker reads, by name.
    """

    client: Codes
    product: Codes
    is_new: Mask
    scores: dict[str, Floats]
    features: dict[str, Floats]

    def keep(self, rows: Mask) -> Candidates:
        """Only these rows."""
        return Candidates(
            self.client[rows],
            self.product[rows],
            self.is_new[rows],
            {name: each[rows] for name, each in self.scores.items()},
            {name: each[rows] for name, each in self.features.items()},
        )

    @staticmethod
    def join(parts: Sequence[Candidates]) -> Candidates:
        """Candidates of several blocks of clients, in their order."""
        return Candidates(
            np.concatenate([part.client for part in parts]),
            np.concatenate([part.product for part in parts]),
            np.concatenate([part.is_new for part in parts]),
            *(
                {
                    name: np.concatenate([getattr(part, field)[name] for part in parts])
                    for name in getattr(parts[0], field)
                }
                for field in ("scores", "features")
            ),
        )


def candidates(
    evidence: Evidence, clients: Codes, *, k: int, allowed: Mask | None = None
) -> Candidates:
    """Pick what to rank for these clients.

    Args:
        clients: codes, sorted.
        k: length of the lists to come; each source's own first k are always among the picked.
        allowed: products that may be recommended, shape (products,); default all.
    """
    pairs, pool = evidence.pairs, evidence.pool
    width = pairs.shape[1]
    pooled = _pool_scores(evidence, clients)
    bought = np.flatnonzero(np.isin(pairs.client, clients))
    inside = bought[evidence.place[pairs.product[bought]] >= 0]
    row = np.searchsorted(clients, pairs.client[inside])
    column = evidence.place[pairs.product[inside]]
    barred = np.zeros(len(pool), dtype=bool) if allowed is None else ~allowed[pool]
    keys = [_lately_bought(evidence, bought, max(_BOUGHT, k))]
    for each in pooled.values():
        wanted = np.where(barred, -np.inf, each)
        best = _best(wanted, max(_BEST, k))
        wanted[row, column] = -np.inf
        best = np.hstack([best, _best(wanted, max(_NEW, k))])
        keys.append((clients[:, None] * width + pool[best]).ravel())
    found = np.unique(np.concatenate(keys))
    if allowed is not None:
        found = found[allowed[found % width]]
    client, product = found // width, found % width
    scores = _scores(evidence, client, product, np.searchsorted(clients, client), pooled)
    at = pairs.find(client, product)
    return Candidates(
        client, product, at < 0, scores, features(evidence, client, product, at, scores)
    )


def _pool_scores(evidence: Evidence, clients: Codes) -> dict[str, Floats]:
    pool = evidence.pool
    found = {name: scorer.scores(clients) for name, scorer in evidence.scorers.items()}
    found["popular"] = evidence.popularity.share[evidence.segment[clients]][:, pool]
    if evidence.content is not None:
        # Of two alike the one that more clients chose.
        found["similar_product"] = evidence.content.likeness(clients, pool) * found["popular"]
    return found


def _lately_bought(evidence: Evidence, bought: Codes, size: int) -> Codes:
    """Keys of the pairs that each client bought most and latest."""
    pairs = evidence.pairs
    order = bought[np.lexsort((-pairs.decayed[MIDDLE][bought], pairs.client[bought]))]
    owner = pairs.client[order]
    kept = order[np.arange(len(order)) - np.searchsorted(owner, owner) < size]
    return pairs.client[kept] * pairs.shape[1] + pairs.product[kept]


def _scores(
    evidence: Evidence, client: Codes, product: Codes, row: Codes, pooled: dict[str, Floats]
) -> dict[str, Floats]:
    """Each source's score of each pair; 0 for a product outside the pool."""
    place = evidence.place[product]
    found = {name: np.where(place >= 0, each[row, place], 0) for name, each in pooled.items()}
    share = evidence.popularity.share
    found["popular"] = share[evidence.segment[client], product]
    at = evidence.pairs.find(client, product)
    again = np.where(at >= 0, evidence.pairs.decayed[MIDDLE][at], 0)
    found["buy_again"] = again + _FILL * found["popular"] / share.max()
    return {name: found[name].astype(np.float32) for name in SOURCES if name in found}


def _best(scores: Floats, size: int) -> Codes:
    """Places of the best of each row, in no order, shape (rows, size)."""
    size = min(size, scores.shape[1])
    return np.argpartition(-scores, size - 1, axis=1)[:, :size]
