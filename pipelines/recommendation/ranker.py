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
# Two aims for the trees, and how many each grows.
_PAIRS, _WHOLE_LIST = "lambdarank", "rank_xendcg"
_ROUNDS = {_PAIRS: 100, _WHOLE_LIST: 120}
_TREES = {
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
class Regression:
    """A logistic regression.

    Attributes:
        mean, scale: by which features are made standard, shape (features,).
        weights: likewise.
    """

    mean: Floats
    scale: Floats
    weights: Floats

    def score(self, matrix: Floats) -> Floats:
        """Shape (rows,)."""
        return np.asarray((matrix - self.mean) / self.scale @ self.weights)


@dataclass(frozen=True)
class Ranker:
    """The mean of two rankings that learn from the same features.

    LambdaRank is always one of them. Where products that were bought are ranked too, the other is
    trees that lower the cross entropy of the whole list: purchases are many then. For new products
    they are few, and a logistic regression errs less. Both were so on every window of development.

    Sources: Burges, From RankNet to LambdaRank to LambdaMART, MSR-TR-2010-82; Bruch, An Alternative
    Cross Entropy Loss for Learning-to-Rank, WWW 2021.

    Attributes:
        names: of the features, in order.
        trees: the texts of LightGBM's models.
        regression: the other ranking for new products.
    """

    names: tuple[str, ...]
    trees: tuple[str, ...]
    regression: Regression | None = None

    def score(self, candidates: Candidates) -> Floats:
        """Shape (rows,); comparable within a client only."""
        matrix = _matrix(candidates, self.names)
        rankings = [
            np.asarray(each.predict(matrix, num_threads=_threads(matrix))) for each in self.boosters
        ]
        if self.regression is not None:
            rankings.append(self.regression.score(matrix))
        standard = [_standard_within(candidates.client, each) for each in rankings]
        return np.asarray(np.mean(standard, axis=0), dtype=np.float32)

    @cached_property
    def boosters(self) -> list[Any]:
        """LightGBM's models."""
        return [lgb.Booster(model_str=text) for text in self.trees]


def train(examples: Sequence[Example], seed: int, *, new_only: bool) -> Ranker:
    """Learn from past windows; the same examples give the same bytes.

    Args:
        new_only: whether the examples hold only what clients had never bought.
    """
    names = tuple(examples[0].candidates.features)
    parts = [_with_hits(example) for example in examples]
    matrix = np.vstack([_matrix(part.candidates, names) for part in parts])
    bought = np.concatenate([part.bought for part in parts])
    lists = np.concatenate([_lengths(part.candidates.client) for part in parts])
    data = lgb.Dataset(matrix, bought.astype(np.int8), group=lists)
    aims = (_PAIRS,) if new_only else (_PAIRS, _WHOLE_LIST)
    trees = tuple(_grown(data, aim, seed, _threads(matrix)) for aim in aims)
    return Ranker(names, trees, _regression(matrix, bought) if new_only else None)


def _grown(data: lgb.Dataset, aim: str, seed: int, threads: int) -> str:
    settings = _TREES | {"objective": aim, "seed": seed, "num_threads": threads}
    return str(lgb.train(settings, data, _ROUNDS[aim]).model_to_string())


def _regression(matrix: Floats, bought: Mask) -> Regression:
    mean, scale = matrix.mean(axis=0), matrix.std(axis=0)
    scale[scale < 1e-6] = 1  # constant: no weight can come of it
    linear = LogisticRegression(max_iter=300).fit((matrix - mean) / scale, bought)
    return Regression(mean, scale, linear.coef_[0].astype(np.float32))


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
