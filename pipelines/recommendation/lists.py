"""Ranked lists out of scored rows: the first k rows of each client."""

from __future__ import annotations

import numpy as np

from pipelines.recommendation.interactions import Codes
from pipelines.recommendation.pairs import Floats


def within(client: Codes, score: Floats) -> Codes:
    """Rank of each row within its client, from 0; of equal scores the earlier row is first.

    Args:
        client: sorted codes, shape (rows,).
        score: shape (rows,).
    """
    order = np.lexsort((-score, client))
    ranks = np.empty(len(client), dtype=np.int64)
    ranks[order] = np.arange(len(client)) - np.searchsorted(client, client)
    return ranks


def first(client: Codes, score: Floats, clients: Codes, k: int) -> Codes:
    """The rows on each client's list by rank, -1 where it is shorter; shape (clients, k).

    Args:
        clients: whose lists, sorted; rows of others are not asked for.
    """
    ranks = within(client, score)
    chosen = np.flatnonzero((ranks < k) & np.isin(client, clients))
    found = np.full((len(clients), k), -1)
    found[np.searchsorted(clients, client[chosen]), ranks[chosen]] = chosen
    return found
