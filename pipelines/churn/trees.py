"""LightGBM on the features, kept as the text that LightGBM writes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

# Read when OpenMP is loaded: threads that wait by spinning starve whoever shares the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import lightgbm as lgb
import numpy as np

from pipelines.churn.config import ChurnConfig
from pipelines.churn.examples import Examples
from pipelines.churn.snapshots import RECENCY, Floats
from pipelines.errors import LakehouseError

Booster: TypeAlias = Any  # lightgbm.Booster, which is not typed


@dataclass(frozen=True)
class Trees:
    """Fitted trees.

    Attributes:
        text: as LightGBM writes them.
    """

    text: str

    @classmethod
    def fit(cls, examples: Examples, names: Sequence[str], config: ChurnConfig) -> Trees:
        """Learn from examples; of two clients alike but for recency, who is longer away is riskier.

        Args:
            names: the features of the examples.
        """
        boosting = config.boosting
        data = lgb.Dataset(
            examples.values, examples.churned.astype(np.int8), feature_name=list(names)
        )
        parameters = {
            "objective": "binary",
            "learning_rate": boosting.learning_rate,
            "num_leaves": boosting.leaves,
            "min_data_in_leaf": boosting.least_rows_in_leaf,
            "feature_fraction": boosting.share_of_features,
            "lambda_l2": boosting.ridge,
            "monotone_constraints": [int(name == RECENCY) for name in names],
            "max_bin": 63,
            "num_threads": 1,
            "seed": config.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        return cls(lgb.train(parameters, data, boosting.trees).model_to_string())

    def score(self, values: Floats) -> Floats:
        """Log odds of being lost, shape (rows,)."""
        return np.asarray(self._booster.predict(values, raw_score=True, num_threads=1))

    @cached_property
    def _booster(self) -> Booster:
        try:
            return lgb.Booster(model_str=self.text)
        except lgb.basic.LightGBMError as error:
            raise LakehouseError(
                f"the trees of the churn model cannot be read: {error}", "train it anew"
            ) from error
