"""Build what follows from what has landed, through its gates, and publish it."""

from __future__ import annotations

from prefect import State, flow

from pipelines import chain
from pipelines.orchestration.endings import after_publishing
from pipelines.orchestration.hooks import tell_why
from pipelines.orchestration.surroundings import prefect_for, settings_of_worker


@flow(name="transform", on_failure=[tell_why])
def transform() -> State[None] | None:
    """Build, check and publish; where nothing is new since the last green build, do nothing.

    Raises:
        LakehouseError: a step failed, or a gate blocked; what is published stays as it was.
    """
    settings = settings_of_worker()
    chain.rebuild(settings, "flow transform", prefect_for(settings))
    return after_publishing(settings)
