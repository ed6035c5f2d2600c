"""Neighbourhoods: what similar clients buy, and what is bought by those who bought the same."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.linalg import cho_factor, cho_solve

from pipelines.recommendation.interactions import Codes
from pipelines.recommendation.pairs import Floats

_NEIGHBOURS = 300
_RIDGE = 500.0


class ClientNeighbours:
    """Clients by the cosine of what they bought, rare products weighing more.

    Args:
        taste: decayed counts of all products, shape (clients, all products).
        bought: ones where a client bought a product, shape (clients, products to score).
    """

    def __init__(self, taste: sp.csr_matrix, bought: sp.csr_matrix) -> None:
        self._neighbours = min(_NEIGHBOURS, taste.shape[0] - 1)
        self._bought = bought
        buyers = np.maximum(np.bincount(taste.indices, minlength=taste.shape[1]), 1)
        rarity = np.log1p(taste.shape[0] / buyers).astype(np.float32)
        self._vectors = unit_rows((damped(taste) @ sp.diags(rarity)).tocsr())

    def scores(self, clients: Codes) -> Floats:
        """Share of the neighbours that bought each product, shape (clients, products)."""
        return np.asarray((self._weights(clients) @ self._bought).toarray(), dtype=np.float32)

    def _weights(self, clients: Codes) -> sp.csr_matrix:
        """How much each neighbour's word counts, shape (clients, all clients); rows sum to 1."""
        near = (self._vectors[clients] @ self._vectors.T).toarray()
        near[np.arange(len(near)), clients] = 0  # nobody is their own neighbour
        chosen = np.argpartition(-near, self._neighbours - 1, axis=1)[:, : self._neighbours]
        chosen.sort(axis=1)
        value = np.take_along_axis(near, chosen, axis=1)
        value /= np.maximum(value.sum(axis=1, keepdims=True), 1e-12)
        pointers = np.arange(len(near) + 1) * self._neighbours
        return sp.csr_matrix((value.ravel(), chosen.ravel(), pointers), shape=near.shape)


class ItemNeighbours:
    """Products by who buys them together: EASE, a linear model in closed form.

    Source: Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019.

    Args:
        bought: how much each client bought of each product, shape (clients, products).
    """

    def __init__(self, bought: sp.csr_matrix) -> None:
        gram = (bought.T @ bought).toarray().astype(np.float32)
        gram[np.diag_indices_from(gram)] += _RIDGE
        inverse = cho_solve(
            cho_factor(gram, overwrite_a=True, check_finite=False),
            np.eye(len(gram), dtype=np.float32), overwrite_b=True, check_finite=False,
        )  # fmt: skip
        self._weights = -inverse / np.diag(inverse)
        self._weights[np.diag_indices_from(inverse)] = 0
        self._bought = bought

    def scores(self, clients: Codes) -> Floats:
        """Shape (clients, products)."""
        return np.asarray(self._bought[clients] @ self._weights, dtype=np.float32)


def damped(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """log(1 + x) of each entry: ten baskets do not say ten times as much as one."""
    result = matrix.copy()
    result.data = np.log1p(result.data)
    return result


def unit_rows(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Each row scaled to length 1; empty rows stay empty."""
    norm = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return (sp.diags((1 / np.maximum(norm, 1e-12)).astype(np.float32)) @ matrix).tocsr()
