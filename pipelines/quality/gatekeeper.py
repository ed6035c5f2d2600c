"""Who holds the gates of a run: checks, keeps what was found, and lets pass or blocks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import structlog

from pipelines.errors import LakehouseError, UsageError
from pipelines.lake.catalog import QUALITY_TABLES
from pipelines.lake.trino import asker, register
from pipelines.quality import books
from pipelines.quality.inspection import Inspection
from pipelines.quality.suites import Gate, Suite
from pipelines.quality.warehouse import GATED
from pipelines.settings import EMBEDDED, Settings
from pipelines.targets import variables

if TYPE_CHECKING:
    from pipelines.quality.results import GateReport, Result

log = structlog.get_logger()

_SHOWN_ROWS = 3
_DOCS = "data-docs"
_SECONDS = 60.0


class GateBlocked(LakehouseError):
    """At least one rule of severity `block` does not hold: nothing is published."""

    def __init__(self, report: GateReport, target: str) -> None:
        self.report = report
        named = "\n  ".join(_told(result) for result in report.blocking)
        meanwhile = "the published marts stay as they were"
        files = sorted({result.rule.origin for result in report.blocking})
        look = "lakehouse sql \"from quality.quarantine where severity = 'block'\""
        super().__init__(
            f"the gate on {report.gate} blocks, {meanwhile}:\n  {named}",
            f"correct these rows where they come from, or the rule in {', '.join(files)}; then run "
            f"again. All of them: {look}",
        )


class Gatekeeper:
    """The gates of one run; to be left by `with`, for it waits for what it has written."""

    def __init__(self, settings: Settings, run_id: str) -> None:
        self._settings = settings
        self._run_id = run_id
        self._inspection: Inspection | None = None
        self.reports: list[GateReport] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._inspection is None:
            return
        try:
            self._inspection.close()
        except Exception as error:
            # What went wrong before is what is to be told.
            if kind is None:
                raise
            log.error("the pages of the gates are not written", error=str(error))

    def prepare(self) -> None:
        """Begin to import what checks, beside what else is done: it takes seconds."""
        if self._inspection is None and self._settings.target in GATED:
            self._inspection = Inspection(self._settings)

    def check(self, gate: Gate, suites: Sequence[Suite]) -> GateReport:
        """Check the rules of a gate, and keep what was found.

        Raises:
            GateBlocked: what must hold does not.
            LakehouseError: a rule cannot be checked.
        """
        report = self._inspect().check(gate, suites)
        self.reports.append(report)
        books.keep(
            self._settings.quality, report, run_id=self._run_id, target=self._settings.target
        )
        if self._settings.target != EMBEDDED:
            self._tell_server()
        log.info(
            "gate checked", gate=gate, rules=len(report.results), blocking=len(report.blocking),
            warnings=len(report.warnings),
        )  # fmt: skip
        if report.blocking:
            self.write_docs()
            raise GateBlocked(report, self._settings.target)
        return report

    def _inspect(self) -> Inspection:
        self.prepare()
        if self._inspection is None:
            raise UsageError(
                f"there are no gates on {self._settings.target}", "its tests are run by dbt"
            )
        return self._inspection

    def _tell_server(self) -> None:
        """Make what was found readable there, too, where the server finds the raw tables."""
        raw = variables(self._settings)["LAKEHOUSE_TRINO_RAW"]
        if self._settings.store is None or not raw.endswith("/raw"):
            return
        ask = asker(self._settings, _SECONDS)
        for name in QUALITY_TABLES:
            place = f"{raw.removesuffix('raw')}{self._settings.quality.name}/{name}"
            register(ask, self._settings.quality.name, name, place)

    def write_docs(self) -> None:
        """Write Great Expectations' pages of what this run has checked, for a browser."""
        self._inspect().write_docs(docs_folder(self._settings))


def docs_folder(settings: Settings) -> Path:
    """Where the pages lie; of a server's gates in a folder of their own."""
    of_target = "" if settings.target == EMBEDDED else f"-{settings.target}"
    return settings.home / f"{_DOCS}{of_target}"


def forget_rows(settings: Settings, run_id: str) -> None:
    """Forget every row that a gate has kept or shown, until the next gates."""
    from pipelines.quality import books

    books.clear_quarantine(settings.quality, run_id)
    for folder in settings.home.glob(f"{_DOCS}*"):
        shutil.rmtree(folder)


def _told(result: Result) -> str:
    where = f"{result.table}: {result.rule.name}"
    if result.failed is None:
        return f"{where}: found {result.observed}"
    rows: Sequence[dict[str, Any]] = result.rows[:_SHOWN_ROWS]
    shown = "".join(f"\n    {json.dumps(_of_source(row), default=str)}" for row in rows)
    return f"{where}: {result.failed:,} row{'' if result.failed == 1 else 's'}{shown}"


def _of_source(row: dict[str, Any]) -> dict[str, Any]:
    """The row without what the line itself has added."""
    return {name: value for name, value in row.items() if not name.startswith("_")}
