"""Hold the gates on what is built, as it is."""

from __future__ import annotations

from prefect import flow

from pipelines import chain
from pipelines.orchestration.hooks import tell_why
from pipelines.orchestration.surroundings import prefect_for, settings_of_worker


@flow(name="quality", on_failure=[tell_why])
def quality() -> None:
    """Check all rules again, without building or publishing anything.

    Raises:
        LakehouseError: nothing is built, or a rule does not hold that must.
    """
    settings = settings_of_worker()
    chain.check_built(settings, "flow quality", prefect_for(settings))
