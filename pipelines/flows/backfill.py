"""Make anew what the events of some days concern."""

from __future__ import annotations

from datetime import date

from prefect import State, flow

from pipelines import backfill as backfilling
from pipelines.orchestration.artifacts import show_compared
from pipelines.orchestration.endings import after_publishing
from pipelines.orchestration.hooks import tell_why
from pipelines.orchestration.surroundings import prefect_for, settings_of_worker


@flow(name="backfill", on_failure=[tell_why])
def backfill(start: date, until: date, tables: list[str] | None = None) -> State[None] | None:
    """What `lakehouse backfill` does; repeated, it ends in the same tables.

    Args:
        start: First day of the source's time (UTC), included.
        until: Last day, excluded.
        tables: Source tables, by name, topic or SQL name; all, unless told.

    Raises:
        LakehouseError: the days are in the wrong order, nothing is built yet, or a step failed.
    """
    settings = settings_of_worker()
    report = backfilling.backfill(
        settings,
        backfilling.Days(start, until),
        tables or (),
        command="flow backfill",
        by=prefect_for(settings),
    )
    show_compared(report.tables)
    return after_publishing(settings)
