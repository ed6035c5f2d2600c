"""Which source, or the blend, is to rank: decided on the latest window before the cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pipelines.recommendation.candidates import Candidates
from pipelines.recommendation.interactions import Codes
from pipelines.recommendation.lists import first
from pipelines.recommendation.metrics import per_client
from pipelines.recommendation.pairs import Floats
from pipelines.recommendation.ranker import LEAST_HITS, Example, Ranker, train

Task = Literal["all", "new"]
TASKS: tuple[Task, ...] = ("all", "new")
BLEND = "blend"
# Where fewer of the purchases are repeated ones, what was bought is done with.
_LEAST_REPEATS = 0.01
_LEAST_PURCHASES = 100
# Windows that a blend learns from, when it is judged and when it is used.
_LESSONS = 2
# Fewer clients than these prove nothing.
_LEAST_CLIENTS = 10


@dataclass(frozen=True)
class Proof:
    """A past window as the recommender would have met it.

    Attributes:
        example: the candidates, and which were bought.
        relevant: how many products each client bought in it, and how many new ones, by task;
            shape (clients,).
    """

    name: str
    example: Example
    relevant: dict[Task, Codes]


@dataclass(frozen=True)
class Choice:
    """What ranks one task.

    Attributes:
        winner: a source's reason code, or "blend".
        why: a sentence.
        ndcg: NDCG@k of each contender on the window that decided.
        ranker: the blend, trained on the latest windows, if there was enough to train it.
    """

    winner: str
    why: str
    ndcg: dict[str, float] = field(default_factory=dict)
    ranker: Ranker | None = None

    def score(self, candidates: Candidates) -> Floats:
        """What the winner gives, shape (rows,)."""
        if self.winner == BLEND and self.ranker is not None:
            return self.ranker.score(candidates)
        return candidates.scores[self.winner]


def buys_again(proofs: Sequence[Proof]) -> bool:
    """Whether clients buy what they bought before, or only ever what is new to them."""
    bought = sum(int(proof.relevant["all"].sum()) for proof in proofs)
    new = sum(int(proof.relevant["new"].sum()) for proof in proofs)
    return bool(bought < _LEAST_PURCHASES or bought - new >= _LEAST_REPEATS * bought)


def sources(table: Candidates) -> dict[str, Floats]:
    """The sources that can rank these candidates; nothing new can be bought again."""
    left_out = "buy_again" if table.is_new.all() else ""
    return {name: table.scores[name] for name in table.scores if name != left_out}


def choose(
    task: Task, proofs: Sequence[Proof], k: int, seed: int, *, new_only: bool, blend: bool = True
) -> Choice:
    """Let all contenders rank the latest window, the blend having learned from earlier ones.

    With one window alone the blend learns from every other client and is judged on the rest.

    Args:
        proofs: past windows, the latest first.
        new_only: rank only what the client never bought.
        blend: whether it takes part.
    """
    examples = [
        proof.example.keep(proof.example.candidates.is_new) if new_only else proof.example
        for proof in proofs
    ]
    relevant = proofs[0].relevant[task] if proofs else np.array([], dtype=int)
    if not proofs or len(_asked(examples[0], relevant)) < _LEAST_CLIENTS:
        winner = "popular" if new_only else "buy_again"
        return Choice(winner, f"{winner}: too few purchases before the cut to compare on")
    judged, lessons = _divided(examples)
    can_learn = blend and _hits([judged]) >= LEAST_HITS and _hits(lessons) >= LEAST_HITS
    if not can_learn:
        judged = examples[0]
    contenders = sources(judged.candidates)
    if can_learn:
        contenders[BLEND] = train(lessons, seed).score(judged.candidates)
    ndcg = {name: _ndcg(judged, score, relevant, k) for name, score in contenders.items()}
    winner = max(ndcg, key=lambda name: ndcg[name])  # of equals the simpler, which stands first
    ranker = train(examples[:_LESSONS], seed) if can_learn else None
    return Choice(winner, _why(winner, ndcg, proofs, k), ndcg, ranker)


def _divided(examples: list[Example]) -> tuple[Example, list[Example]]:
    """What is judged, and what is learned from."""
    latest = examples[0]
    if len(examples) > 1:
        return latest, examples[1 : 1 + _LESSONS]
    odd = latest.candidates.client % 2 == 1
    return latest.keep(odd), [latest.keep(~odd)]


def _hits(examples: Sequence[Example]) -> int:
    return sum(int(example.bought.sum()) for example in examples)


def _asked(example: Example, relevant: Codes) -> Codes:
    """Clients of the example that bought something relevant."""
    return np.intersect1d(example.candidates.client, np.flatnonzero(relevant))


def _ndcg(example: Example, score: Floats, relevant: Codes, k: int) -> float:
    """Mean over those asked."""
    asked = _asked(example, relevant)
    rows = first(example.candidates.client, score, asked, k)
    hit = (rows >= 0) & example.bought[rows]
    return float(per_client(hit, relevant[asked])["ndcg"].mean())


def _why(winner: str, ndcg: dict[str, float], proofs: Sequence[Proof], k: int) -> str:
    simple = max((name for name in ndcg if name != BLEND), key=lambda name: ndcg[name])
    told = f"NDCG@{k} on the window {proofs[0].name}: {winner} {ndcg[winner]:.4f}"
    if winner == BLEND:
        return f"{told}, the best source alone ({simple}) {ndcg[simple]:.4f}"
    if BLEND in ndcg:
        return f"{told}, the blend {ndcg[BLEND]:.4f}: the blend is not used"
    return f"{told}; too few purchases to train the blend"
