"""Windows in time: what was known on a day, and what was bought after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipelines.errors import LakehouseError
from pipelines.recommendation.interactions import Codes, Ids, Interactions, Mask


@dataclass(frozen=True)
class Truth:
    """What clients with a history bought in a window: each pair of client and product once.

    Attributes:
        client: codes in the history's clients.
        product: codes in the history's products; -1 for a product nobody had bought before.
        is_new: whether the client had never bought the product before.
        cold_clients: how many clients bought in the window without a history; not in here.
    """

    client: Codes
    product: Codes
    is_new: Mask
    cold_clients: int


@dataclass(frozen=True)
class Window:
    """A history that ends where the truth begins."""

    name: str
    history: Interactions
    truth: Truth


class Split(Protocol):
    """Cuts one window off the end of a history; what is left can be cut again."""

    @property
    def label(self) -> str: ...

    def cut(self, known: Interactions) -> Window | None:
        """The last window, or None where too little is left before it."""


@dataclass(frozen=True)
class Holdout:
    """The last `days` days are held out."""

    days: int

    @property
    def label(self) -> str:
        return f"the last {self.days} days"

    def cut(self, known: Interactions) -> Window | None:
        begin = known.today - self.days
        before = known.day < begin
        # A history shorter than the window itself is no picture of what clients usually buy.
        if not before.any() or before.all() or known.day.min() > begin - self.days:
            return None
        history = known.keep(before, begin)
        name = f"from {np.datetime64(int(begin * 86400), 's')}"
        return Window(name, history, _truth(known, ~before, history))


@dataclass(frozen=True)
class LastBasket:
    """Each client's last basket is held out, for clients with two baskets or more."""

    label: str = "each client's last basket"

    def cut(self, known: Interactions) -> Window | None:
        last, baskets = _last_basket(known)
        held = (known.basket == last[known.client]) & (baskets[known.client] > 1)
        if not held.any():
            return None
        as_of = np.full(len(known.clients), -np.inf)
        np.maximum.at(as_of, known.client[~held], known.day[~held])
        history = known.keep(~held, as_of)
        return Window("last basket", history, _truth(known, held, history))


def windows(known: Interactions, split: Split, count: int) -> Iterator[Window]:
    """Up to `count` windows, the last one first; each is cut off the history of the one before."""
    for _ in range(count):
        window = split.cut(known)
        if window is None:
            return
        yield window
        known = window.history


def last_window(known: Interactions, split: Split) -> Window:
    """The last window.

    Raises:
        LakehouseError: the history is too short for it.
    """
    window = split.cut(known)
    if window is None:
        days = known.day.max() - known.day.min()
        raise LakehouseError(
            f"a history of {days:,.0f} days is too short to hold out {split.label}",
            "give a longer history, or hold out fewer days by --holdout-days",
        )
    return window


def _last_basket(known: Interactions) -> tuple[Codes, Codes]:
    """Per client the number of its last basket, and how many it has."""
    last = np.full(len(known.clients), -1)
    np.maximum.at(last, known.client, known.basket)
    firsts = np.unique(known.basket, return_index=True)[1]
    return last, np.bincount(known.client[firsts], minlength=len(known.clients))


def _truth(known: Interactions, rows: Mask, history: Interactions) -> Truth:
    """The held-out rows in the codes of the history."""
    client = _positions(history.clients, known.clients)[known.client[rows]]
    pairs = np.unique(np.c_[client, known.product[rows]][client >= 0], axis=0)
    product = _positions(history.products, known.products)[pairs[:, 1]]
    width = len(history.products)
    bought = np.unique(history.client * width + history.product)
    is_new = (product < 0) | ~np.isin(pairs[:, 0] * width + product, bought)
    cold = len(np.unique(known.client[rows][client < 0]))
    return Truth(pairs[:, 0], product, is_new, cold)


def _positions(ids: Ids, wanted: Ids) -> Codes:
    """Where each wanted id stands in sorted ids; -1 where it does not."""
    at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[at] == wanted, at, -1).astype(np.int64)
