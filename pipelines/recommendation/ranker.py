"""The blend: sources and features combined by two models that learn from earlier windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from pipelines.recommendation.candidates import Candidates
from pipelines.recommendation.interactions import Codes, Mask
from pipelines.recommendation.pairs import Floats

# Fewer purchases than these tell less than any fixed rule.
LEAST_HITS = 30
# Below, two threads wait for each other longer than they work.
_ROWS_FOR_TWO_THREADS = 200_000
_ROUNDS = 100
_TREES = {
    "objective": "lambdarank",
    "learning_rate": 0.08,
    "num_leaves": 15,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.6,
    "lambda_l2": 10.0,
    "lambdarank_truncation_level": 15,
    "max_bin": 63,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}


@dataclass(frozen=True)
class Example:
    """Candidates of a past window, and which of them were bought in it."""

    candidates: Candidates
    bought: Mask

    def keep(self, rows: Mask) -> Example:
        """Only these rows."""
        return Example(self.candidates.keep(rows), self.bought[rows])


@dataclass(frozen=True)
class Ranker:
    """The mean of two rankings: a logistic regression and LambdaRank on the same features.

    The regression errs little on few data; the trees find where features act together. In
    development their mean was the best of the three for all products, and for new ones as good as
    the regression alone, which there did better than the trees.

    Source: Burges, From RankNet to LambdaRank to LambdaMART, MSR-TR-2010-82.

    Attributes:
        names: of the features, in order.
        mean, scale: by which features are made standard for the regression, shape (features,).
        weights: of the regression, likewise.
        trees: the text of LightGBM's model.
    """

    names: tuple[str, ...]
    mean: Floats
    scale: Floats
    weights: Floats
    trees: str

    def score(self, candidates: Candidates) -> Floats:
        """Shape (rows,); comparable within a client only."""
        matrix = _matrix(candidates, self.names)
        standard = (matrix - self.mean) / self.scale
        linear = _standard_within(candidates.client, standard @ self.weights)
        grown = np.asarray(self._booster.predict(matrix, num_threads=_threads(matrix)))
        grown = _standard_within(candidates.client, grown)
        return ((linear + grown) / 2).astype(np.float32)

    @cached_property
    def _booster(self) -> Any:
        return lgb.Booster(model_str=self.trees)


def train(examples: Sequence[Example], seed: int) -> Ranker:
    """Learn from past windows; the same examples give the same bytes."""
    names = tuple(examples[0].candidates.features)
    parts = [_with_hits(example) for example in examples]
    matrix = np.vstack([_matrix(part.candidates, names) for part in parts])
    bought = np.concatenate([part.bought for part in parts])
    lists = np.concatenate([_lengths(part.candidates.client) for part in parts])
    mean, scale = matrix.mean(axis=0), matrix.std(axis=0)
    scale[scale < 1e-6] = 1  # constant: no weight can come of it
    linear = LogisticRegression(max_iter=300).fit((matrix - mean) / scale, bought)
    data = lgb.Dataset(matrix, bought.astype(np.int8), group=lists)
    threads = {"num_threads": _threads(matrix)}
    trees = lgb.train(_TREES | threads | {"seed": seed}, data, _ROUNDS)
    weights = linear.coef_[0].astype(np.float32)
    return Ranker(names, mean, scale, weights, trees.model_to_string())


def _matrix(candidates: Candidates, names: Sequence[str]) -> Floats:
    return np.column_stack([candidates.features[name] for name in names])


def _with_hits(example: Example) -> Example:
    """Without lists on which nothing was bought: they order nothing."""
    client = example.candidates.client
    return example.keep(np.isin(client, client[example.bought]))


def _threads(matrix: Floats) -> int:
    return 2 if len(matrix) >= _ROWS_FOR_TWO_THREADS else 1


def _lengths(client: Codes) -> Codes:
    return np.asarray(np.unique(client, return_counts=True)[1])


def _standard_within(client: Codes, score: Floats) -> NDArray[np.float64]:
    """Each list's scores with mean 0 and deviation 1."""
    _, row, size = np.unique(client, return_inverse=True, return_counts=True)
    centred = score - (np.bincount(row, score) / size)[row]
    deviation = np.sqrt(np.bincount(row, centred**2) / size)
    return np.asarray(centred / np.maximum(deviation, 1e-9)[row], dtype=np.float64)
