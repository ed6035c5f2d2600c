"""Logistic regression on logarithms of the features, with or without interactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from pipelines.churn.examples import Examples
from pipelines.churn.snapshots import RECENCY, Floats
from pipelines.recommendation.determinism import one_blas_thread

# What lies further out than anything learnt from must not run away.
_MOST_DEVIATIONS = 4.0


@dataclass(frozen=True)
class Logistic:
    """A fitted regression.

    Attributes:
        columns: of the features, those that it uses.
        partner: of these, the one that acts together with each other one; None for no interaction.
        filling: what stands in for a value that is not defined, shape (columns,).
        centre, scale: of the logarithms, shape (columns,).
        weights: of the columns, of their being undefined, and of the interactions.
    """

    columns: tuple[int, ...]
    partner: int | None
    filling: Floats
    centre: Floats
    scale: Floats
    weights: Floats
    intercept: float

    @classmethod
    def fit(
        cls,
        examples: Examples,
        names: Sequence[str],
        used: Sequence[str],
        *,
        interacts: bool,
        shrinkage: float,
    ) -> Logistic:
        """Learn from examples.

        Args:
            names: the features of the examples.
            used: those to use; `recency_days` is the one that others act together with.
        """
        columns = tuple(names.index(name) for name in used)
        values = examples.values[:, columns]
        filling = np.array([_median(column) for column in values.T])
        logs = _logarithm(np.where(np.isnan(values), filling, values))
        centre, scale = logs.mean(axis=0), logs.std(axis=0)
        scale[scale < 1e-9] = 1.0  # constant: no weight can come of it
        partner = list(used).index(RECENCY) if interacts else None
        blank = cls(columns, partner, filling, centre, scale, np.empty(0), 0.0)
        design = blank._design(examples.values)
        with one_blas_thread():
            found = LogisticRegression(C=shrinkage, max_iter=1000).fit(design, examples.churned)
        return cls(
            columns, partner, filling, centre, scale, found.coef_[0], float(found.intercept_[0])
        )

    def score(self, values: Floats) -> Floats:
        """Log odds of being lost, shape (rows,)."""
        # Not by BLAS, whose threads add in another order.
        return np.asarray((self._design(values) * self.weights).sum(axis=1) + self.intercept)

    def as_json(self) -> dict[str, Any]:
        """What `from_json` makes it from."""
        arrays = ("filling", "centre", "scale", "weights")
        return {
            "columns": list(self.columns),
            "partner": self.partner,
            "intercept": self.intercept,
        } | {name: getattr(self, name).tolist() for name in arrays}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Logistic:
        """The same regression again."""
        arrays = {
            name: np.array(told[name], dtype=np.float64)
            for name in ("filling", "centre", "scale", "weights")
        }
        return cls(
            columns=tuple(told["columns"]),
            partner=told["partner"],
            intercept=told["intercept"],
            **arrays,
        )

    def _design(self, values: Floats) -> Floats:
        own = values[:, self.columns]
        undefined = np.isnan(own)
        standard = (_logarithm(np.where(undefined, self.filling, own)) - self.centre) / self.scale
        standard = np.clip(standard, -_MOST_DEVIATIONS, _MOST_DEVIATIONS)
        parts = [standard, undefined.astype(np.float64)]
        if self.partner is not None:
            parts.append(standard * standard[:, [self.partner]])
        return np.concatenate(parts, axis=1)


def _logarithm(values: Floats) -> Floats:
    """Of counts, days and amounts, which are skewed; the sign stays."""
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))


def _median(column: Floats) -> float:
    defined = column[~np.isnan(column)]
    return float(np.median(defined)) if defined.size else 0.0
