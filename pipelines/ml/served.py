"""What MLflow loads as a model: code that reads the model's files and predicts by its kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel

from pipelines.ml.kinds import registered_kind


class Served(PythonModel):
    """Any kind of model behind MLflow's own interface."""

    def load_context(self, context: Any) -> None:
        """Read the model; raises LakehouseError where its folder holds none."""
        self._kind = registered_kind(context.model_config["kind"])
        self._model = self._kind.load(Path(context.artifacts["model"]))

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Predictions of a frame like the input example; see the kind's `serve`."""
        return self._kind.serve(self._model, model_input)


mlflow.models.set_model(Served())
