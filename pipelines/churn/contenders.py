"""The models that compete, the simplest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pipelines.churn.config import ChurnConfig
from pipelines.churn.examples import Examples
from pipelines.churn.logistic import Logistic
from pipelines.churn.snapshots import RECENCY, Floats
from pipelines.churn.trees import Trees

RECENCY_ONLY = "recency"
RFM = "rfm"
LOGISTIC = "logistic"
TREES = "trees"
RFM_FEATURES = (RECENCY, "order_count_84d", "net_amount_84d")


class Scorer(Protocol):
    """A fitted model."""

    def score(self, values: Floats) -> Floats:
        """Log odds of being lost, shape (rows,)."""
        ...


def contenders(features: Sequence[str]) -> tuple[str, ...]:
    """Those that these features allow, the simplest first."""
    rfm = (RFM,) if set(RFM_FEATURES) <= set(features) else ()
    return (RECENCY_ONLY, *rfm, LOGISTIC, TREES)


def learn(contender: str, examples: Examples, config: ChurnConfig) -> Scorer:
    """Fit one of them."""
    names = config.features
    if contender == TREES:
        return Trees.fit(examples, names, config)
    used = {RECENCY_ONLY: (RECENCY,), RFM: RFM_FEATURES}.get(contender, names)
    return Logistic.fit(
        examples,
        names,
        used,
        interacts=contender == LOGISTIC,
        shrinkage=config.shrinkage,
    )
