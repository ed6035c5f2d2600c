"""Latent taste: matrix factorisation of implicit feedback by alternating least squares."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from implicit.als import AlternatingLeastSquares

from pipelines.recommendation.interactions import Codes
from pipelines.recommendation.pairs import Floats

_FACTORS = 32
_REGULARIZATION = 20.0
_ITERATIONS = 10


class LatentTaste:
    """Clients and products as vectors whose product says how sure a purchase is.

    Source: Hu, Koren and Volinsky, Collaborative Filtering for Implicit Feedback Datasets, 2008.

    Args:
        confidence: decayed counts, shape (clients, products).
    """

    def __init__(self, confidence: sp.csr_matrix, seed: int) -> None:
        model = AlternatingLeastSquares(
            factors=min(_FACTORS, *confidence.shape),
            regularization=_REGULARIZATION,
            alpha=1.0,
            iterations=_ITERATIONS,
            random_state=seed,
            num_threads=2,  # each row is solved by one thread: their number changes no byte
        )
        model.fit(confidence, show_progress=False)
        self._clients = np.asarray(model.user_factors, dtype=np.float32)
        self._products = np.asarray(model.item_factors, dtype=np.float32)

    def scores(self, clients: Codes) -> Floats:
        """Shape (clients, products)."""
        return self._clients[clients] @ self._products.T
