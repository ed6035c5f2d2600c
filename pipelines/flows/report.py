"""Tell sales and stock of a period to those who open no dashboard."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import structlog
from prefect import State, flow
from prefect.states import Completed

from pipelines.orchestration.artifacts import show_reports
from pipelines.orchestration.hooks import tell_why
from pipelines.orchestration.recipients import deliver
from pipelines.orchestration.surroundings import prefect_for, settings_of_worker
from pipelines.reports.period import Span
from pipelines.reports.report import FOLDER, Report, Subject, make, write
from pipelines.settings import Settings

log = structlog.get_logger()
_NOBODY = "nobody is told: no LAKEHOUSE_NOTIFY_… names anybody"


@flow(name="report", on_failure=[tell_why])
def report(
    subjects: list[Subject] | None = None, period: Span = Span.week, until: date | None = None
) -> State[None] | None:
    """What `lakehouse report` does, and the file is sent to whom alarms are sent, too.

    Args:
        subjects: Default all.
        period: The last whole one is told.
        until: Last day that may be told; default the last one that is published.

    Raises:
        LakehouseError: nothing is published, nothing was sold, or somebody was not reached.
    """
    settings = settings_of_worker()
    by = prefect_for(settings)

    def made() -> list[tuple[Report, Path]]:
        return [_written(settings, subject, period, until) for subject in subjects or Subject]

    def tell() -> list[str]:
        subject = "; ".join(each.title for each, _ in reports)
        return deliver(settings, subject, _text(reports), [file for _, file in reports])

    reports = by.call("report", made)
    told = by.call("tell", tell)
    show_reports(reports, told)
    if told:
        return None
    log.warning("report: nobody is told", files=[str(file) for _, file in reports])
    return Completed(message=_NOBODY)


def _written(
    settings: Settings, subject: Subject, period: Span, until: date | None
) -> tuple[Report, Path]:
    made = make(settings, subject, period, until)
    file = settings.home / FOLDER / made.file_name
    write(made, file)
    return made, file


def _text(reports: list[tuple[Report, Path]]) -> str:
    """The headline figures, for those who get no file, and where the whole lies."""
    parts = ["\n".join([each.title, *each.headline(), f"→ {file}"]) for each, file in reports]
    return "\n\n".join(parts)
