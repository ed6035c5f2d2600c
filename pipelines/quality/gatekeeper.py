"""Who holds the gates of a run: checks, keeps what was found, and lets pass or blocks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from pipelines.errors import LakehouseError
from pipelines.lake.catalog import QUALITY_TABLES
from pipelines.lake.trino import asker, register
from pipelines.quality.promises import models
from pipelines.quality.suites import Gate, load_suites
from pipelines.quality.warehouse import warehouse
from pipelines.settings import EMBEDDED, Settings
from pipelines.targets import variables

if TYPE_CHECKING:
    from pipelines.quality.gate import Inspector
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
    """The gates of one run.

    Args:
        manifest: dbt's own, whose data tests are rules.

    Raises:
        LakehouseError: a file with rules is broken.
    """

    def __init__(self, settings: Settings, manifest: Any, run_id: str) -> None:
        self._settings = settings
        self._run_id = run_id
        self._suites = load_suites(settings.expectations_dir, models(manifest))
        self._inspector: Inspector | None = None
        self.reports: list[GateReport] = []

    def check(self, gate: Gate) -> GateReport:
        """Check the rules of a gate, and keep what was found.

        Raises:
            GateBlocked: what must hold does not.
            LakehouseError: a rule cannot be checked.
        """
        # Seconds to import: only where there is something to check.
        from pipelines.quality import books
        from pipelines.quality.gate import Inspector

        if self._inspector is None:
            self._inspector = Inspector(warehouse(self._settings))
        try:
            report = self._inspector.check(gate, self._suites)
        finally:
            self._inspector.close()
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
        if self._inspector is not None:
            self._inspector.write_docs(docs_folder(self._settings))


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
