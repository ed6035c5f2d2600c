"""From a score to a probability, learnt on snapshots later than those that the score was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from pipelines.churn.examples import Examples
from pipelines.churn.snapshots import Floats
from pipelines.recommendation.determinism import one_blas_thread

# Below so many clients of the rarer outcome, steps follow chance: Niculescu-Mizil and Caruana 2005.
LEAST_CLIENTS_FOR_STEPS = 1000
# Of what is told to be impossible, the log loss would be without bound.
_LEAST = 1e-9


@dataclass(frozen=True)
class Calibration:
    """A rising function of the score.

    Attributes:
        kind: `platt`, a line in log odds; `isotonic`, a polygon; `none`, the score as it is.
        scores: slope and intercept of the line, or corners of the polygon.
        probabilities: at the corners.
    """

    kind: str = "none"
    scores: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()

    def probability(self, score: Floats) -> Floats:
        """Chance of being lost, above 0 and below 1, shape (rows,)."""
        if self.kind == "isotonic":
            told = np.interp(score, self.scores, self.probabilities)
        else:
            slope, intercept = self.scores if self.kind == "platt" else (1.0, 0.0)
            told = expit(slope * score + intercept)
        return np.asarray(np.clip(told, _LEAST, 1 - _LEAST))

    def as_json(self) -> dict[str, Any]:
        """What `from_json` makes it from."""
        return {
            "kind": self.kind,
            "scores": list(self.scores),
            "probabilities": list(self.probabilities),
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Calibration:
        """The same function again."""
        return cls(told["kind"], tuple(told["scores"]), tuple(told["probabilities"]))


def calibrate(examples: Examples, score: Floats) -> Calibration:
    """Isotonic regression where there are many lost clients, Platt's line where there are few."""
    if examples.scarcest >= LEAST_CLIENTS_FOR_STEPS:
        return _isotonic(examples, score)
    return _platt(examples, score)


def _platt(examples: Examples, score: Floats) -> Calibration:
    """Platt 1999, with his targets, which keep off 0 and 1."""
    lost = int(examples.churned.sum())
    kept = len(examples) - lost
    target = np.where(examples.churned, (lost + 1) / (lost + 2), 1 / (kept + 2))
    if np.ptp(score) > 0:
        both = np.concatenate([score, score])[:, None]
        outcome = np.repeat([True, False], len(score))
        with one_blas_thread():
            line = LogisticRegression(C=np.inf, max_iter=1000).fit(
                both, outcome, sample_weight=np.concatenate([target, 1 - target])
            )
        slope, intercept = float(line.coef_[0, 0]), float(line.intercept_[0])
        if slope > 0:
            return Calibration("platt", (slope, intercept))
    # A score that does not rise with the risk tells nothing but how many are lost.
    mean = float(target.mean())
    return Calibration("platt", (0.0, float(np.log(mean / (1 - mean)))))


def _isotonic(examples: Examples, score: Floats) -> Calibration:
    """Kept off 0 and 1, which no number of examples proves."""
    edge = 1 / (len(examples) + 2)
    found = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip")
    found.fit(score, examples.churned)
    return Calibration(
        "isotonic",
        tuple(np.asarray(found.X_thresholds_, dtype=np.float64).tolist()),
        tuple(np.asarray(found.y_thresholds_, dtype=np.float64).tolist()),
    )
