"""Popularity: how many clients bought a product lately, among all and in a client's segment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.recommendation.interactions import Codes, Interactions, Mask
from pipelines.recommendation.pairs import Floats, Pairs

RECENT_DAYS = 28
# A segment is heard as much as the whole shop once so many of its clients are known.
_PRIOR_CLIENTS = 50.0


@dataclass(frozen=True)
class Popularity:
    """Figures of products, each of shape (products,) unless said otherwise.

    Attributes:
        share: part of a segment's clients that bought it in the last 28 days, drawn towards that
            of all clients; shape (segments + 1, products), the last row being all clients.
        recent: clients that bought it in the last 28 days; all buyers break ties.
        rising: clients of the last 14 days over those of the last 28.
        newcomers: clients that bought it for the first time in the last 28 days.
        buyers: clients that ever bought it.
        loyalty: part of the buyers that bought it more than once.
        idle: days since anybody bought it; if nobody did, the length of the history.
    """

    share: Floats
    recent: Floats
    rising: Floats
    newcomers: Floats
    buyers: Floats
    loyalty: Floats
    idle: Floats

    def ranked(self, segment: int, allowed: Mask) -> Codes:
        """Codes of the allowed products, the most popular in a segment first; -1 for all."""
        order = np.argsort(-self.share[segment], kind="stable")
        return order[allowed[order]]


def measure(history: Interactions, pairs: Pairs, segment: Codes) -> Popularity:
    """Count the clients of each product.

    Args:
        segment: code of each client's segment, shape (clients,); -1 where it has none.
    """
    width = pairs.shape[1]
    # By the calendar, not by each client's own clock: fashion is common to all.
    age = history.today - history.day
    lag = (history.today - history.as_of)[pairs.client]
    buyers = _count(pairs.product, width)
    # Never as much as one client.
    ties = buyers / (len(history.clients) + 1)
    recent, newest = (
        _count(_buyers(history, age < days) % width, width) for days in (RECENT_DAYS, 14)
    )
    idle = np.full(width, age.max())
    np.minimum.at(idle, history.product, age)
    figures = (
        recent + ties,
        newest / np.maximum(recent, 1),
        _count(pairs.product[pairs.first + lag < RECENT_DAYS], width),
        buyers,
        _count(pairs.product[pairs.count > 1], width) / np.maximum(buyers, 1),
        idle,
    )
    overall = (recent + ties) / len(history.clients)
    share = _by_segment(_buyers(history, age < RECENT_DAYS), segment, overall)
    return Popularity(share, *(each.astype(np.float32) for each in figures))


def _by_segment(bought: Codes, segment: Codes, overall: Floats) -> Floats:
    """The shares of `Popularity`, from recent pairs (client * products + product)."""
    width = len(overall)
    rows = [overall]
    for number in range(segment.max() + 1):
        members = segment == number
        own = _count(bought[members[bought // width]] % width, width)
        rows.insert(-1, (own + _PRIOR_CLIENTS * overall) / (members.sum() + _PRIOR_CLIENTS))
    return np.vstack(rows).astype(np.float32)


def _buyers(history: Interactions, rows: Mask) -> Codes:
    """The distinct pairs of these rows, as client * products + product."""
    width = len(history.products)
    return np.unique(history.client[rows] * width + history.product[rows])


def _count(products: Codes, width: int) -> Codes:
    return np.bincount(products, minlength=width)
