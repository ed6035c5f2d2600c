"""Train the model `recommend`; the gate decides whether it is to predict."""

from __future__ import annotations

from typing import Any

from prefect import State, flow

from pipelines.ml.training import Trained, train
from pipelines.orchestration.endings import ending
from pipelines.orchestration.hooks import tell_why
from pipelines.orchestration.surroundings import prefect_for, settings_of_worker


@flow(name="train_recommender", on_failure=[tell_why])
def train_recommender(origins: int = 3, recipe: dict[str, Any] | None = None) -> State[None] | None:
    """What `lakehouse train recommend` does; a refused model is no failure.

    Args:
        origins: On how many past horizons it is compared.
        recipe: Parameters that differ from the default.

    Raises:
        LakehouseError: there is too little to learn from, or MLflow is not reached.
    """
    settings = settings_of_worker()
    by = prefect_for(settings)
    made: Trained = by.call(
        "train", lambda: train(settings, "recommend", recipe, origins=origins, by=by)
    )
    return ending(made.verdict.is_promoted, "the gate has refused the model")
