"""How a run ends that others wait for: completed, or completed with nothing for them."""

from __future__ import annotations

from prefect import State
from prefect.runtime import flow_run
from prefect.states import Completed

from pipelines.lake.shown import shown
from pipelines.quality.warehouse import GATED
from pipelines.settings import Settings

# Of type completed, as Prefect counts it; no link waits for this name.
UNCHANGED = "Unchanged"


def ending(is_news: bool, otherwise: str) -> State[None] | None:
    """What a flow returns to end as `Completed`, or as `Unchanged`.

    Args:
        otherwise: why there is nothing for those who follow.
    """
    return None if is_news else Completed(name=UNCHANGED, message=otherwise)


def after_publishing(settings: Settings) -> State[None] | None:
    """What a flow returns that publishes, if there is anything new.

    What counts is what readers see, so that a run which has published, crashed and was tried again
    is followed: it has the same id.
    """
    if settings.target not in GATED:
        return None
    manifest = shown(settings)
    tables = manifest.tables.values() if manifest else ()
    run_id = flow_run.get_id()
    return ending(any(table.run_id == run_id for table in tables), "nothing new was published")
