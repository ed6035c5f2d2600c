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


@dataclass(frozen=True)
class Policy:
    """How to rank, as learned from past windows; it serves any later history.

    Attributes:
        choices: what ranks each task.
        buys_again: as in `Recommender`.
        learned_until: the day at whose begin the last window ended, in days since 1970-01-01.
        k: length of the lists.
        seed: of what is learned of a history.
        blend: whether the blend took part.
    """

    choices: dict[Task, Choice]
    buys_again: bool
    learned_until: float
    k: int
    seed: int
    blend: bool

    def recommender(self, history: Interactions, context: Context | None = None) -> Recommender:
        """Learn the sources from a history, to rank by this policy."""
        context = context or Context()
        if context.catalogue is not None:
            history = history.with_products(context.catalogue.table.index)
        with one_blas_thread():
            evidence = gather(history, context, self.seed)
        return Recommender(evidence, context, self.choices, self.buys_again, self.k)


def learn(
    history: Interactions, split: Split, context: Context | None = None, *, k: int = 10,
    seed: int = 0, blend: bool = True, proofs: dict[str, Proof] | None = None,
) -> Policy:  # fmt: skip
    """Learn how to rank, on windows that are cut off the end of this history by `split`.

    The same history gives the same bytes.

    Args:
        split: what a window is; the lists are made for the one that would come next.
        k: length of the lists.
        blend: whether the blend takes part; without it the best source alone ranks.
        proofs: past windows that are at hand, by name; those that are made come in. All must be of
            the same purchases, `k` and `seed`.
    """
    context = context or Context()
    with one_blas_thread():
        made = {} if proofs is None else proofs
        found = []
        for window in windows(history, split, _WINDOWS):
            if window.name not in made:
                made[window.name] = _proof(window, context, k, seed)
            found.append(made[window.name])
        again = buys_again(found)
        choices = {
            task: choose(task, found, k, seed, new_only=task == "new" or not again, blend=blend)
            for task in TASKS
        }
    return Policy(choices, again, history.today, k, seed, blend)


def fit(
    history: Interactions, split: Split, context: Context | None = None, *, k: int = 10,
    seed: int = 0,
) -> Recommender:  # fmt: skip
    """Learn how to rank and what, of one history; see `learn`."""
    return learn(history, split, context, k=k, seed=seed).recommender(history, context)


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
