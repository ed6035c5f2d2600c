"""All that is learned from one history before ranking: pairs, popularity and fitted sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from pipelines.recommendation.clients import Clients, describe
from pipelines.recommendation.interactions import Codes, Interactions
from pipelines.recommendation.pairs import LONG, Floats, Pairs, pair_up
from pipelines.recommendation.signals import popularity
from pipelines.recommendation.signals.content import Catalogue, Content
from pipelines.recommendation.signals.factors import Factors, LatentTaste
from pipelines.recommendation.signals.neighbours import (
    ClientNeighbours,
    ItemNeighbours,
    damped,
)
from pipelines.recommendation.signals.popularity import Popularity

# New products are sought among the most bought: a handful of buyers tells little of others.
_POOL = 5000


class Scorer(Protocol):
    """A fitted source."""

    def scores(self, clients: Codes) -> Floats:
        """How well each product of the pool suits each client, shape (clients, pool)."""
        ...


@dataclass(frozen=True)
class Context:
    """What is known beside purchases.

    Attributes:
        catalogue: attributes of products.
        segments: name of the segment of each client id.
    """

    catalogue: Catalogue | None = None
    segments: Mapping[Any, str] = field(default_factory=dict)

    def known_to(self, history: Interactions) -> Context:
        """Without products that are not in the history: then they may not have existed yet."""
        if self.catalogue is None:
            return self
        return Context(self.catalogue.only(history.products), self.segments)

    @property
    def segment_names(self) -> list[str]:
        return sorted(set(self.segments.values()))

    def segment_codes(self, clients: Any) -> Codes:
        """Place of each client's segment among the names; -1 for none."""
        codes = {name: code for code, name in enumerate(self.segment_names)}
        return np.array([codes.get(self.segments.get(each, ""), -1) for each in clients], dtype=int)


@dataclass(frozen=True)
class Evidence:
    """What a history tells.

    Attributes:
        segment: code of each client's segment, -1 for none.
        pool: codes of the products among which new ones are sought, sorted.
        place: place of each product in the pool, -1 for one outside; shape (products,).
        scorers: fitted sources by their reason code.
        content: likeness of products, where there is a catalogue.
    """

    history: Interactions
    pairs: Pairs
    clients: Clients
    popularity: Popularity
    segment: Codes
    pool: Codes
    place: Codes
    scorers: dict[str, Scorer]
    content: Content | None


def gather(history: Interactions, context: Context, seed: int) -> Evidence:
    """Learn all sources from a history."""
    found = _counted(history, context)
    taste = found.pairs.matrix(found.pairs.decayed[LONG])
    pooled: sp.csr_matrix = taste[:, found.pool].tocsr()
    bought = pooled.copy()
    bought.data = np.ones_like(bought.data)
    scorers: dict[str, Scorer] = {
        "clients_like_you": ClientNeighbours(taste, bought),
        "bought_together": ItemNeighbours(damped(pooled)),
        "taste": LatentTaste(pooled, seed),
    }
    catalogue = context.catalogue
    content = Content(catalogue.words(history.products), taste) if catalogue else None
    return replace(found, scorers=scorers, content=content)


def gather_with(history: Interactions, factors: Factors) -> Evidence:
    """Count a history, and take taste from elsewhere as its one fitted source."""
    found = _counted(history, Context())
    taste = factors.taste(history.clients, history.products[found.pool])
    return replace(found, scorers={"taste": taste})


def _counted(history: Interactions, context: Context) -> Evidence:
    """What is counted alone, without a source that is fitted."""
    pairs = pair_up(history)
    segment = context.segment_codes(history.clients)
    popular = popularity.measure(history, pairs, segment)
    pool = np.sort(np.argsort(-popular.buyers, kind="stable")[:_POOL])
    pool = pool[popular.buyers[pool] > 0]
    place = np.full(pairs.shape[1], -1)
    place[pool] = np.arange(len(pool))
    clients = describe(history, pairs)
    return Evidence(history, pairs, clients, popular, segment, pool, place, {}, None)
