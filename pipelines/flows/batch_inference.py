"""Predict with the champions by what is published, and publish the predictions."""

from __future__ import annotations

from prefect import flow

from pipelines.ml.batch import infer
from pipelines.orchestration.hooks import tell_why
from pipelines.orchestration.surroundings import prefect_for, settings_of_worker


@flow(name="batch_inference", on_failure=[tell_why])
def batch_inference(kinds: list[str] | None = None, again: bool = False) -> None:
    """What `lakehouse score` does; what is predicted already is not predicted again.

    Args:
        kinds: forecast, recommend or churn; all, unless told.
        again: Also where the same model has seen the same data.

    Raises:
        LakehouseError: a model is damaged, or a gate blocked; what is published stays as it was.
    """
    settings = settings_of_worker()
    infer(settings, kinds, again=again, by=prefect_for(settings))
