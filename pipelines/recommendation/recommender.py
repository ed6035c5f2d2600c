"""The recommender: learns from a history, and ranks products for its clients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipelines.recommendation.candidates import Candidates, candidates
from pipelines.recommendation.determinism import one_blas_thread
from pipelines.recommendation.evidence import Context, Evidence, gather
from pipelines.recommendation.interactions import Codes, Interactions, Mask
from pipelines.recommendation.ranker import Example
from pipelines.recommendation.selection import TASKS, Choice, Proof, Task, buys_again, choose
from pipelines.recommendation.splits import Split, Window, windows

# One window to judge contenders on, and two before it for the blend to learn from.
_WINDOWS = 3
_LEARNERS = 1500
_BLOCK = 1024


@dataclass(frozen=True)
class Recommender:
    """What was learned from a history.

    Attributes:
        choices: what ranks each task.
        buys_again: whether products that a client bought before are ranked among all.
        k: length of the lists.
    """

    evidence: Evidence
    context: Context
    choices: dict[Task, Choice]
    buys_again: bool
    k: int

    def ranked(self, task: Task, table: Candidates) -> Candidates:
        """Those of the candidates that a task ranks."""
        return table if task == "all" and self.buys_again else table.keep(table.is_new)

    def blocks(
        self, clients: Codes, allowed: Mask | None = None
    ) -> Iterator[tuple[Codes, Candidates]]:
        """Candidates of these clients, block by block.

        Args:
            clients: codes, sorted.
            allowed: products that may be recommended, shape (products,); default all.
        """
        return _blocks(self.evidence, clients, self.k, allowed)


def fit(
    history: Interactions, split: Split, context: Context | None = None, *, k: int = 10,
    seed: int = 0,
) -> Recommender:  # fmt: skip
    """Learn from a history; the same history gives the same bytes.

    What is to rank is chosen on windows that are cut off the end of this history by `split`.

    Args:
        split: what a window is; the lists are made for the one that would come next.
        k: length of the lists.
    """
    context = context or Context()
    with one_blas_thread():
        proofs = [_proof(window, context, k, seed) for window in windows(history, split, _WINDOWS)]
        again = buys_again(proofs)
        choices = {
            task: choose(task, proofs, k, seed, new_only=task == "new" or not again)
            for task in TASKS
        }
        if context.catalogue is not None:
            history = history.with_products(context.catalogue.table.index)
        return Recommender(gather(history, context, seed), context, choices, again, k)


def _proof(window: Window, context: Context, k: int, seed: int) -> Proof:
    truth = window.truth
    n, width = len(window.history.clients), len(window.history.products)
    relevant: dict[Task, Codes] = {
        "all": np.bincount(truth.client, minlength=n),
        "new": np.bincount(truth.client[truth.is_new], minlength=n),
    }
    clients = np.flatnonzero(relevant["all"])
    if len(clients) > _LEARNERS:
        drawn = np.random.default_rng(seed).choice(clients, _LEARNERS, replace=False)
        clients = np.sort(drawn)
    evidence = gather(window.history, context, seed)
    table = Candidates.join([part for _, part in _blocks(evidence, clients, k, None)])
    known = truth.product >= 0
    bought = np.isin(
        table.client * width + table.product, truth.client[known] * width + truth.product[known]
    )
    return Proof(window.name, Example(table, bought), relevant)


def _blocks(
    evidence: Evidence, clients: Codes, k: int, allowed: Mask | None
) -> Iterator[tuple[Codes, Candidates]]:
    for start in range(0, len(clients), _BLOCK):
        block = clients[start : start + _BLOCK]
        yield block, candidates(evidence, block, k=k, allowed=allowed)
