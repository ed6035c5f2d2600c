"""What is known of each client with each product that they bought: counts, recency, cadence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pipelines.recommendation.interactions import Codes, Interactions

Floats: TypeAlias = NDArray[np.floating[Any]]

# Short, medium and long memory. A purchase counts half after so many days.
SHORT, MIDDLE, LONG = 14, 42, 126


@dataclass(frozen=True)
class Pairs:
    """One entry per pair of client and product, sorted by client, then product.

    Attributes:
        shape: clients, products.
        client, product: codes, shape (pairs,).
        count: baskets of the client that hold the product.
        last, first: days before recommending at which it was bought last and first.
        visits_since: baskets of the client since the last one that held the product.
        decayed: per half-life the count, each basket weighted by 0.5 ** (age / half-life).
    """

    shape: tuple[int, int]
    client: Codes
    product: Codes
    count: Floats
    last: Floats
    first: Floats
    visits_since: Floats
    decayed: dict[int, Floats]

    @cached_property
    def keys(self) -> Codes:
        """client * products + product of each pair, sorted."""
        return self.client * self.shape[1] + self.product

    def matrix(self, values: Floats) -> sp.csr_matrix:
        """The values as a sparse matrix, shape (clients, products)."""
        pointers = np.searchsorted(self.client, np.arange(self.shape[0] + 1))
        return sp.csr_matrix((values, self.product, pointers), shape=self.shape)

    def find(self, client: Codes, product: Codes) -> Codes:
        """Where each asked pair stands here; -1 where the client never bought the product."""
        asked = client * self.shape[1] + product
        at = np.minimum(np.searchsorted(self.keys, asked), len(self.keys) - 1)
        return np.where(self.keys[at] == asked, at, -1)


def pair_up(history: Interactions) -> Pairs:
    """Gather the rows of each pair."""
    width = len(history.products)
    keys = history.client * width + history.product
    order = np.argsort(keys, kind="stable")
    found, starts = np.unique(keys[order], return_index=True)
    age = (history.as_of[history.client] - history.day)[order]
    visit = visits_back(history)[order]
    return Pairs(
        (len(history.clients), width),
        found // width,
        found % width,
        np.diff(np.r_[starts, len(keys)]).astype(np.float32),
        np.minimum.reduceat(age, starts).astype(np.float32),
        np.maximum.reduceat(age, starts).astype(np.float32),
        np.minimum.reduceat(visit, starts).astype(np.float32),
        {
            h: np.add.reduceat(0.5 ** (age / h), starts).astype(np.float32)
            for h in (SHORT, MIDDLE, LONG)
        },
    )


def visits_back(history: Interactions) -> Codes:
    """Of each row how many baskets of its client came after its own."""
    row_basket = np.unique(history.basket, return_inverse=True)[1]
    last = np.full(len(history.clients), -1)
    np.maximum.at(last, history.client, row_basket)
    return last[history.client] - row_basket
