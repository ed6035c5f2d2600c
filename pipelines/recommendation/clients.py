"""Figures of clients: how often they come, how much they buy, how much of it is new to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.recommendation.interactions import Codes, Interactions
from pipelines.recommendation.pairs import Floats, Pairs
from pipelines.recommendation.signals.popularity import RECENT_DAYS


@dataclass(frozen=True)
class Clients:
    """Figures of clients, each of shape (clients,).

    Attributes:
        baskets: how many baskets a client has, and `recent_baskets` how many in the last 28 days.
        products: how many different products they bought.
        curiosity: part of the products of the last 28 days that were new to them then.
    """

    baskets: Floats
    recent_baskets: Floats
    products: Floats
    curiosity: Floats


def describe(history: Interactions, pairs: Pairs) -> Clients:
    """Count baskets and products of each client."""

    def count(clients: Codes) -> Floats:
        return np.bincount(clients, minlength=pairs.shape[0]).astype(np.float32)

    firsts = np.unique(history.basket, return_index=True)[1]
    owner = history.client[firsts]
    age = history.as_of[owner] - history.day[firsts]
    recent = count(pairs.client[pairs.last < RECENT_DAYS])
    fresh = count(pairs.client[pairs.first < RECENT_DAYS])
    return Clients(
        count(owner),
        count(owner[age < RECENT_DAYS]),
        count(pairs.client),
        fresh / np.maximum(recent, 1),
    )
