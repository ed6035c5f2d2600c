"""The chain as a whole: land, build through the gates, publish."""

from __future__ import annotations

from prefect import State, flow

from pipelines import chain
from pipelines.orchestration.endings import after_publishing
from pipelines.orchestration.hooks import tell_why
from pipelines.orchestration.surroundings import prefect_for, settings_of_worker, source_of


@flow(name="daily", on_failure=[tell_why])
def daily(accept_gap: bool = False) -> State[None] | None:
    """What `lakehouse run` does, each step a task.

    Args:
        accept_gap: Go on behind messages that expired in Kafka unread.

    Raises:
        LakehouseError: a step failed, or a gate blocked; what is published stays as it was.
    """
    settings = settings_of_worker()
    chain.run(
        settings,
        source_of(settings, accept_gap=accept_gap),
        command="flow daily",
        by=prefect_for(settings),
    )
    return after_publishing(settings)
