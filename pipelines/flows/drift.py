"""Watch the champions, and train anew what has drifted."""

from __future__ import annotations

import structlog
from prefect import State, flow

from pipelines.ml.training import Trained, train
from pipelines.ml.watch import Watched, watch
from pipelines.orchestration.artifacts import show_drift
from pipelines.orchestration.endings import ending
from pipelines.orchestration.hooks import tell_why
from pipelines.orchestration.surroundings import prefect_for, settings_of_worker

log = structlog.get_logger()


@flow(name="drift", on_failure=[tell_why])
def drift(origins: int = 3) -> State[None] | None:
    """What `lakehouse models drift` tells; a drifted model is trained anew, and judged.

    Args:
        origins: On how many past horizons the new one is compared.

    Raises:
        LakehouseError: nothing is published, or Evidently is not installed.
    """
    settings = settings_of_worker()
    by = prefect_for(settings)
    found: list[Watched] = by.call("watch", lambda: watch(settings))
    show_drift(found)
    promoted = []
    for kind in dict.fromkeys(each.kind for each in found if each.is_drifted):
        log.info("drift: trained anew", kind=kind)

        def work(kind: str = kind) -> Trained:
            return train(settings, kind, origins=origins, by=by)

        if by.call("train", work).verdict.is_promoted:
            promoted.append(kind)
    return ending(bool(promoted), "every champion stays")
