"""Join small files, shorten logs, delete what nobody needs."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from pipelines import maintain as maintenance
from pipelines.contract import load_contracts
from pipelines.lake.ids import new_run_id
from pipelines.maintain import LEAST_HOURS, WEEK_HOURS
from pipelines.orchestration.artifacts import show_maintained
from pipelines.orchestration.hooks import tell_why
from pipelines.orchestration.surroundings import prefect_for, settings_of_worker


@flow(name="maintain", on_failure=[tell_why])
def maintain(
    tables: list[str] | None = None,
    keep_hours: Annotated[int, Field(ge=LEAST_HOURS)] = WEEK_HOURS,
    force: bool = False,
    dry_run: bool = False,
) -> None:
    """What `lakehouse maintain` does; landings, runs and queries go on beside it.

    Args:
        tables: As in SQL, or a topic; all, unless told.
        keep_hours: How long replaced files and log entries are kept.
        force: Keep them for less than a week.
        dry_run: Change nothing; show what would be done.

    Raises:
        LakehouseError: there is no such table, or another program compacts the same one.
    """
    settings = settings_of_worker()
    keep = maintenance.kept(keep_hours, force=force)
    chosen = maintenance.targets(settings, load_contracts(settings.project_dir), tables or ())
    by = prefect_for(settings)
    run_id = by.run_id or new_run_id()
    reports = by.call(
        "maintain",
        lambda: maintenance.maintain(settings, chosen, run_id, keep=keep, dry_run=dry_run),
    )
    show_maintained(reports)
