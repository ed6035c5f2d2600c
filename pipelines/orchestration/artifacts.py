"""What a flow run did, as artifacts that Prefect shows beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.events import emit_event

from pipelines.backfill import Comparison
from pipelines.cdc.land import LandReport
from pipelines.errors import LakehouseError
from pipelines.lake.publish import Manifest
from pipelines.maintain import TableReport
from pipelines.ml.watch import Watched
from pipelines.quality.gatekeeper import docs_folder
from pipelines.quality.results import GateReport
from pipelines.reports.report import Report
from pipelines.settings import Settings

# Events by which alarms know that the lake is alive.
LANDED = "lakehouse.landed"
PUBLISHED = "lakehouse.published"
_LAKE = {"prefect.resource.id": "lakehouse.lake", "prefect.resource.name": "lake"}


@singledispatch
def show(result: object, settings: Settings) -> None:
    """Show what a step has made; most results have nothing to show."""


@show.register
def _(landing: LandReport, settings: Settings) -> None:
    rows = [
        {
            "topic": topic.topic,
            "landed": topic.landed,
            "dead letters": topic.dead,
            "already landed": topic.replayed,
        }
        for topic in landing.topics.values()
    ]
    total = {
        "topic": "all", "landed": landing.landed, "dead letters": landing.dead,
        "already landed": landing.replayed,
    }  # fmt: skip
    _table("landed", [*rows, total], "What has landed, in rows.")
    if landing.landed:
        emit_event(LANDED, resource=_LAKE, payload={"rows": landing.landed})


@show.register
def _(gate: GateReport, settings: Settings) -> None:
    rows = [
        {
            "table": result.table,
            "rule": result.rule.name,
            "severity": result.rule.severity,
            "rows that break it": result.failed,
            "found": result.observed,
        }
        for result in (*gate.blocking, *gate.warnings)
    ]
    told = (
        f"The gate on {gate.gate}: {len(gate.results)} rules, {len(gate.blocking)} block, "
        f"{len(gate.warnings)} warn."
    )
    _table(f"gate-{gate.gate}", rows, told)
    create_link_artifact(
        (docs_folder(settings) / "index.html").as_uri(),
        link_text="all rules and what they found",
        key="data-docs",
        description="On the worker's machine.",
    )


@show.register
def _(manifest: Manifest, settings: Settings) -> None:
    rows = [
        {
            "table": name,
            "rows": table.rows,
            "version": table.version,
            "written in run": table.run_id,
        }
        for name, table in manifest.tables.items()
    ]
    dated = f"Published {manifest.published_at}, business date {manifest.business_date}."
    _table("published", rows, dated)
    emit_event(PUBLISHED, resource=_LAKE, payload={"run_id": manifest.run_id})


def show_maintained(reports: Sequence[TableReport]) -> None:
    """Show what maintenance did to each table."""
    rows = [
        {
            "table": report.table,
            "rows retired": report.retired,
            "files": f"{report.before.files} → {report.after.files}",
            "MiB": f"{report.before.mebibytes} → {report.after.mebibytes}",
            "files removed": report.files_removed,
            "skipped": "; ".join(report.skipped),
        }
        for report in reports
    ]
    _table("maintained", rows, "What maintenance did to each table.")


def show_served(views: Sequence[Mapping[str, Any]]) -> None:
    """Show what is served of each view of features."""
    rows = [
        {
            "view": view["view"],
            "known until": view["until"],
            "entities": view["entities"],
            "rows written": view["written"],
        }
        for view in views
    ]
    _table("served", rows, "Features that are served, as of the business date.")


def show_drift(watched: Sequence[Watched]) -> None:
    """Show how far what each champion sees has moved."""
    rows = [
        {
            "model": each.model_version,
            "of": each.subject,
            "column": drift.column,
            "PSI": "" if drift.psi is None else f"{drift.psi:.3f}",
            "drifted": drift.is_drifted,
            "note": drift.note or each.note,
        }
        for each in watched
        for drift in each.drifts
    ]
    _table("drift", rows, "What the champions see, against what they were trained on.")


def show_reports(reports: Sequence[tuple[Report, Path]], told: Sequence[str]) -> None:
    """Show where reports lie, and who has got them."""
    rows = [
        {"report": report.title, "file": str(file), "told": ", ".join(told) or "nobody"}
        for report, file in reports
    ]
    _table("reports", rows, "Reports, on the worker's machine.")


def show_compared(tables: Sequence[Comparison]) -> None:
    """Show each published table before and after a backfill."""
    rows = [
        {
            "table": table.table,
            "rows before": table.rows_before,
            "rows after": table.rows_after,
            "changed": table.has_changed,
        }
        for table in tables
    ]
    _table("compared", rows, "Published tables before and after.")


def show_failure(error: LakehouseError) -> None:
    """Show why a run failed, and what to do about it."""
    create_markdown_artifact(
        f"**Cause**\n\n```text\n{error.cause}\n```\n\n**Remedy**\n\n{error.remedy}\n",
        key="failure",
        description="Why the run failed, and what to do about it.",
    )


def _table(key: str, rows: list[dict[str, Any]], description: str) -> None:
    create_table_artifact(rows, key=key, description=description)
