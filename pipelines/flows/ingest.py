"""Land what is new, from Kafka or the inbox; nothing is built."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from pipelines import chain
from pipelines.errors import LakehouseError
from pipelines.orchestration.hooks import tell_why
from pipelines.orchestration.surroundings import prefect_for, settings_of_worker, source_of


@flow(name="ingest", on_failure=[tell_why])
def ingest(
    accept_gap: bool = False, most_dead_letters: Annotated[int, Field(ge=0)] | None = None
) -> None:
    """Land what is new; others may land, build or query meanwhile.

    Args:
        accept_gap: Go on behind messages that expired in Kafka unread.
        most_dead_letters: More of them than this fail the run, though all that can land has landed.

    Raises:
        LakehouseError: the landing failed, or there are too many dead letters.
    """
    settings = settings_of_worker()
    source = source_of(settings, accept_gap=accept_gap)
    landing = chain.land_alone(settings, source, "flow ingest", prefect_for(settings))
    if most_dead_letters is not None and landing.dead > most_dead_letters:
        raise LakehouseError(
            f"{landing.dead:,} messages became dead letters, {most_dead_letters:,} are tolerated",
            "`lakehouse dead-letters list` tells which, and why",
        )
