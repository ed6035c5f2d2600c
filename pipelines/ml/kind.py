"""What each kind of model can do: read its inputs, learn, be tried, be kept, and predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import pandas as pd
import pyarrow as pa

from pipelines.ml.published import Published
from pipelines.ml.trial import Trial
from pipelines.settings import Settings

Data = TypeVar("Data")
Model = TypeVar("Model")


@dataclass(frozen=True)
class Facts:
    """What a model card tells of a kind of model, whatever the data."""

    purpose: str
    method: str
    limits: tuple[str, ...]
    owner: str


class Kept(Protocol[Model]):
    """What the registry keeps of a kind of model, whoever trained it.

    Attributes:
        name: of the registered model.
    """

    name: ClassVar[str]
    facts: ClassVar[Facts]

    def parameters(self, model: Model) -> dict[str, Any]:
        """All that decides how the model learns, flat."""
        ...

    def importance(self, model: Model) -> dict[str, float]:
        """How much each feature counts; empty where nothing was learnt."""
        ...

    def save(self, model: Model, folder: Path) -> None:
        """Write it as files: the same bytes for the same model, text where size allows."""
        ...

    def load(self, folder: Path) -> Model:
        """Read what `save` has written."""
        ...

    def used(self, model: Model) -> str:
        """What predictions are made of, in a word: the model, a blend or a baseline."""
        ...

    def example(self, data: Any) -> pd.DataFrame:
        """A small input of `serve`, of what was read to train it."""
        ...

    def serve(self, model: Model, frame: pd.DataFrame) -> pd.DataFrame:
        """Predict for whoever loads the model by MLflow alone."""
        ...


class Kind(Kept[Model], Protocol[Data, Model]):
    """One kind of model that the platform trains and predicts with.

    Attributes:
        name: as in `lakehouse train NAME`, too.
        table: the inference table that its predictions go to.
    """

    table: ClassVar[str]

    def read(self, source: Published, settings: Settings) -> Data:
        """Read all that training and inference need; raises LakehouseError where it is missing."""
        ...

    def fit(self, data: Data, recipe: Mapping[str, Any]) -> Model:
        """Learn from all of the data.

        Args:
            recipe: parameters that differ from the default, by name.
        """
        ...

    def baseline(self, data: Data) -> Model:
        """The best simple method, for where there is no champion."""
        ...

    def trial(
        self, data: Data, recipe: Mapping[str, Any], champion: Model | None, origins: int
    ) -> Trial:
        """Let challenger, champion and baselines predict the last days that are known.

        At each origin a contender knows only what was known then: the recipe is learnt anew, the
        champion as well if it has seen what comes after.
        """
        ...

    def predict(self, model: Model, data: Data) -> pa.Table:
        """Predictions, with the columns of the inference table that are the kind's own."""
        ...
