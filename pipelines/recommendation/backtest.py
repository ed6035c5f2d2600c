"""Backtest: the whole recommender on past windows, each source and the blend measured beside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipelines.errors import LakehouseError
from pipelines.recommendation.candidates import Candidates
from pipelines.recommendation.evidence import Context
from pipelines.recommendation.interactions import Codes, Interactions
from pipelines.recommendation.lists import first
from pipelines.recommendation.metrics import (
    PER_CLIENT,
    Estimate,
    Scores,
    coverage,
    estimate,
    hits,
    per_client,
)
from pipelines.recommendation.pairs import Floats
from pipelines.recommendation.recommender import Recommender, fit
from pipelines.recommendation.selection import BLEND, TASKS, Task, sources
from pipelines.recommendation.splits import Split, Window, last_window


@dataclass(frozen=True)
class Measured:
    """One contender on one task in one window.

    Attributes:
        is_chosen: whether the recommender itself would have used it.
        coverage: share of the products of the history that are on any list.
    """

    window: str
    task: Task
    contender: str
    is_chosen: bool
    clients: int
    recall: Estimate
    ndcg: Estimate
    map: Estimate
    coverage: float


@dataclass(frozen=True)
class Tested:
    """A window of the backtest.

    Attributes:
        clients: clients with a history before the window.
        cold_clients: clients that bought in the window without a history: not measured.
        unknown: part of the window's purchases that are of products nobody had bought before.
        why: by task, what was chosen and why, in a sentence.
    """

    window: str
    clients: int
    products: int
    cold_clients: int
    unknown: float
    why: dict[str, str]


@dataclass(frozen=True)
class Backtest:
    """The result: rows of each window, newest first, and what each window was."""

    k: int
    split: str
    windows: list[Tested]
    rows: list[Measured]

    def mean(self, task: Task, contender: str, metric: str = "ndcg") -> float:
        """Mean of a metric over the windows in which the contender took part."""
        found = [
            getattr(row, metric).mean
            for row in self.rows
            if (row.task, row.contender) == (task, contender)
        ]
        if not found:
            raise LakehouseError(
                f"{contender} took part in no window", "name a contender of the backtest"
            )
        return float(np.mean(found))


def backtest(
    known: Interactions, split: Split, context: Context | None = None, *, k: int = 10,
    count: int = 1, seed: int = 0,
) -> Backtest:  # fmt: skip
    """Hold out `count` windows, one after the other from the end, and measure on each.

    On each window the recommender learns from what came before it alone, its choices included.

    Raises:
        LakehouseError: the history is too short, or nobody with a history bought in a window.
    """
    context = context or Context()
    tested: list[Tested] = []
    rows: list[Measured] = []
    for _ in range(count):
        window = last_window(known, split)
        known = window.history
        model = fit(known, split, context.known_to(known), k=k, seed=seed)
        rows += _measure(window, model, seed)
        tested.append(_tested(window, model))
    return Backtest(k, split.label, tested, rows)


def _tested(window: Window, model: Recommender) -> Tested:
    history, truth = window.history, window.truth
    return Tested(
        window.name,
        len(history.clients),
        len(history.products),
        truth.cold_clients,
        float((truth.product < 0).mean()),
        {str(task): choice.why for task, choice in model.choices.items()},
    )


@dataclass(frozen=True)
class Scored:
    """One contender on one task in one window, client by client.

    Attributes:
        clients: codes of those that bought something relevant, sorted.
        scores: recall, ndcg and map at k of each, shape (clients,).
        coverage: share of the products of the history that are on any list.
    """

    task: Task
    contender: str
    clients: Codes
    scores: dict[str, Scores]
    coverage: float


def score(window: Window, model: Recommender) -> Iterator[Scored]:
    """What each source and the blend would have recommended, against what was bought.

    Raises:
        LakehouseError: nobody with a history bought anything in the window.
    """
    truth, n = window.truth, len(window.history.clients)
    if not len(truth.client):
        raise LakehouseError(
            f"nobody with a history bought anything in the window {window.name}",
            "give a longer history, or hold out more days by --holdout-days",
        )
    clients = np.unique(truth.client)
    for (task, contender), recommended in _lists(model, clients).items():
        wanted = truth.is_new if task == "new" else np.ones(len(truth.client), dtype=bool)
        relevant = np.bincount(truth.client[wanted], minlength=n)[clients]
        if not relevant.any():
            continue  # nobody bought anything new: there is no such task in this data
        product = truth.product[wanted]
        row = np.searchsorted(clients, truth.client[wanted])
        width = len(model.evidence.history.products)
        scores = per_client(hits(recommended, row, product, width), relevant)
        yield Scored(task, contender, clients[relevant > 0], scores, coverage(recommended, width))


def _measure(window: Window, model: Recommender, seed: int) -> Iterator[Measured]:
    for found in score(window, model):
        recall, ndcg, precision = (estimate(found.scores[name], seed) for name in PER_CLIENT)
        yield Measured(
            window=window.name,
            task=found.task,
            contender=found.contender,
            is_chosen=found.contender == model.choices[found.task].winner,
            clients=len(found.clients),
            recall=recall,
            ndcg=ndcg,
            map=precision,
            coverage=found.coverage,
        )


def _lists(model: Recommender, clients: Codes) -> dict[tuple[Task, str], Codes]:
    """Product codes by rank of each contender on each task, shape (clients, k)."""
    parts: dict[tuple[Task, str], list[Codes]] = {}
    for block, table in model.blocks(clients):
        for task in TASKS:
            part = model.ranked(task, table)
            for contender, score in _contenders(model, task, part).items():
                rows = first(part.client, score, block, model.k)
                listed = np.where(rows >= 0, part.product[rows], -1)
                parts.setdefault((task, contender), []).append(listed)
    return {key: np.vstack(found) for key, found in parts.items()}


def _contenders(model: Recommender, task: Task, table: Candidates) -> dict[str, Floats]:
    ranker = model.choices[task].ranker
    blend = {} if ranker is None else {BLEND: ranker.score(table)}
    return sources(table) | blend
