"""How churn is defined and learnt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pipelines.churn.snapshots import FEATURES, RECENCY
from pipelines.errors import LakehouseError


@dataclass(frozen=True)
class BoostingConfig:
    """How the trees grow: few, shallow and slowly, for there are some hundred lost clients."""

    trees: int = 150
    learning_rate: float = 0.03
    leaves: int = 8
    least_rows_in_leaf: int = 200
    share_of_features: float = 0.5
    ridge: float = 20.0


@dataclass(frozen=True)
class ChurnConfig:
    """How to predict churn; chosen on windows before those that the bench reports.

    Attributes:
        features: columns of the snapshots to use; `recency_days` is needed.
        horizon_days: a client that buys nothing on so many days after the snapshot is lost.
        at_risk_days: who has bought nothing for longer is lost already, and not predicted.
        warm_up_days: snapshots so soon after the first purchase of all are not learnt from.
        validation_days: the latest labelled snapshots, on which is calibrated and chosen.
        shrinkage: strength of logistic regressions (scikit-learn's C): the smaller, the flatter.
    """

    features: tuple[str, ...] = FEATURES
    horizon_days: int = 56
    at_risk_days: int = 56
    warm_up_days: int = 56
    validation_days: int = 28
    shrinkage: float = 0.1
    boosting: BoostingConfig = field(default_factory=BoostingConfig)
    seed: int = 20170101

    def __post_init__(self) -> None:
        if RECENCY not in self.features:
            raise LakehouseError(
                f"{RECENCY} is not among the features", "name it: it tells who is at risk"
            )
        if min(self.horizon_days, self.at_risk_days, self.validation_days) < 1:
            raise LakehouseError(
                "a span of less than one day tells nothing", "give days, 1 or more"
            )

    def as_json(self) -> dict[str, Any]:
        """What `from_json` makes it from."""
        return asdict(self) | {"features": list(self.features)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> ChurnConfig:
        """The same configuration again."""
        own = {name: value for name, value in told.items() if name != "boosting"}
        own["features"] = tuple(own["features"])
        return cls(**own, boosting=BoostingConfig(**told["boosting"]))
