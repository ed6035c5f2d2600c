"""Which model to trust: chosen on validation snapshots alone, the simplest where all are alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipelines.churn.calibration import Calibration, calibrate
from pipelines.churn.config import ChurnConfig
from pipelines.churn.contenders import RECENCY_ONLY, RFM, contenders, learn
from pipelines.churn.examples import Examples, split
from pipelines.churn.metrics import log_loss
from pipelines.churn.snapshots import Floats

# A simpler model whose loss is so little above the best one's is preferred, lest chance decide.
_LIKE = 0.01
# Fewer clients of either outcome prove nothing.
_LEAST_CLIENTS = 20


@dataclass(frozen=True)
class Trial:
    """A contender that learnt from early examples, on the later ones.

    Attributes:
        calibration: learnt from all of the later examples.
        loss: log loss there, each half of the clients being calibrated on the other half.
    """

    calibration: Calibration
    loss: float


@dataclass(frozen=True)
class Choice:
    """What predicts.

    Attributes:
        winner: name of the contender.
        losses: validation log loss of each contender; empty where there was too little to compare.
        reason: why, in a sentence.
    """

    winner: str
    losses: Mapping[str, float]
    reason: str


def trials(examples: Examples, config: ChurnConfig) -> dict[str, Trial] | None:
    """Try every contender; None where there are too few examples for it."""
    early, late = split(examples, config)
    if min(early.scarcest, late.scarcest) < _LEAST_CLIENTS:
        return None
    found = {}
    for name in contenders(config.features):
        score = learn(name, early, config).score(late.values)
        found[name] = Trial(calibrate(late, score), _loss(late, score))
    return found


def choose(tried: Mapping[str, Trial] | None, config: ChurnConfig) -> Choice:
    """The simplest of those that are as good as the best one."""
    if tried is None:
        winner = RFM if RFM in contenders(config.features) else RECENCY_ONLY
        return Choice(
            winner,
            {},
            f"{winner}, as it comes: the history is too short to compare models, or fewer than "
            f"{_LEAST_CLIENTS} clients were lost (or kept) in a part of it",
        )
    losses = {name: trial.loss for name, trial in tried.items()}
    best = min(losses, key=lambda name: losses[name])
    winner = next(name for name in losses if losses[name] <= losses[best] * (1 + _LIKE))
    told = ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items())
    why = "the least" if winner == best else f"within {_LIKE:.0%} of the least, and simpler"
    return Choice(winner, losses, f"validation log loss of {winner} is {why}: {told}")


def _loss(late: Examples, score: Floats) -> float:
    """What is judged must not have taken part in the calibration: clients are halved."""
    is_odd = late.client % 2 == 1
    probability = np.empty(len(late))
    for half in (is_odd, ~is_odd):
        other = calibrate(late.keep(~half), score[~half])
        probability[half] = other.probability(score[half])
    return float(log_loss(late.churned, probability).mean())
