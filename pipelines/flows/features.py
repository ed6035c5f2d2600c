"""Serve the features that are published."""

from __future__ import annotations

from prefect import flow

from pipelines.features.materialise import materialise
from pipelines.features.served import freshness
from pipelines.orchestration.artifacts import show_served
from pipelines.orchestration.hooks import tell_why
from pipelines.orchestration.surroundings import prefect_for, settings_of_worker


@flow(name="features", on_failure=[tell_why])
def features() -> None:
    """What `lakehouse features materialize` does; runs and queries go on beside it.

    Raises:
        LakehouseError: nothing is published yet, or Feast is not installed.
    """
    settings = settings_of_worker()
    prefect_for(settings).call("features", lambda: materialise(settings))
    show_served(freshness(settings))
