"""Latent taste: matrix factorisation of implicit feedback by alternating least squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from implicit.als import AlternatingLeastSquares
from numpy.typing import NDArray

from pipelines.recommendation.interactions import Codes, Ids
from pipelines.recommendation.pairs import LONG, Floats

FACTORS = 32
ITERATIONS = 10
ALPHA = 1.0
HALF_LIFE_DAYS = float(LONG)
_REGULARIZATION = 20.0


class LatentTaste:
    """Clients and products as vectors whose product says how sure a purchase is.

    Source: Hu, Koren and Volinsky, Collaborative Filtering for Implicit Feedback Datasets, 2008.

    Args:
        confidence: decayed counts, shape (clients, products).
    """

    def __init__(self, confidence: sp.csr_matrix, seed: int) -> None:
        model = AlternatingLeastSquares(
            factors=min(FACTORS, *confidence.shape),
            regularization=_REGULARIZATION,
            alpha=ALPHA,
            iterations=ITERATIONS,
            random_state=seed,
            num_threads=2,  # each row is solved by one thread: their number changes no byte
        )
        model.fit(confidence, show_progress=False)
        self._clients = np.asarray(model.user_factors, dtype=np.float32)
        self._products = np.asarray(model.item_factors, dtype=np.float32)

    def scores(self, clients: Codes) -> Floats:
        """Shape (clients, products)."""
        return self._clients[clients] @ self._products.T


@dataclass(frozen=True)
class Factors:
    """Vectors of clients and products, wherever they were learned.

    Attributes:
        clients, products: ids, sorted.
        of_clients, of_products: shape (clients, factors) and (products, factors).
    """

    clients: Ids
    products: Ids
    of_clients: NDArray[np.float32]
    of_products: NDArray[np.float32]

    def taste(self, clients: Ids, products: Ids) -> Taste:
        """For the codes of a history; whoever and whatever is not known here scores zero."""
        return Taste(
            _placed(self.clients, self.of_clients, clients),
            _placed(self.products, self.of_products, products),
        )

    def best(self, clients: Ids, k: int) -> tuple[Ids, Floats]:
        """Products by rank, and their scores, for clients that are known here, shape (clients, k).

        What was bought before is among them; of equal scores the lower id is first.
        """
        scores = self.taste(clients, self.products).scores(np.arange(len(clients)))
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return self.products[order], np.take_along_axis(scores, order, axis=1)


@dataclass(frozen=True)
class Taste:
    """Vectors by the codes of a history: a source of candidates."""

    _clients: NDArray[np.float32]
    _products: NDArray[np.float32]

    def scores(self, clients: Codes) -> Floats:
        """Shape (clients, products)."""
        return self._clients[clients] @ self._products.T


def _placed(known: Ids, vectors: NDArray[np.float32], wanted: Ids) -> NDArray[np.float32]:
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    found = vectors[at].copy()
    found[known[at] != wanted] = 0
    return found
