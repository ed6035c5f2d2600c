"""The command `lakehouse backfill`: make anew what the events of some days concern."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table as RichTable

from pipelines import backfill as backfilling
from pipelines.backfill import BackfillReport, Days
from pipelines.chain import DOING
from pipelines.commands.options import Json
from pipelines.settings import Settings
from pipelines.terminal import err, out, print_json

_DAY = ["%Y-%m-%d"]


def backfill(
    context: typer.Context,
    start: Annotated[
        datetime, typer.Option("--from", formats=_DAY, help="First day (UTC), included.")
    ],
    until: Annotated[datetime, typer.Option(formats=_DAY, help="Last day (UTC), excluded.")],
    tables: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TABLE]...", help="Source tables: name, topic or SQL; all."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make anew what the events of these days concern; publish it if all tests pass."""
    settings: Settings = context.obj
    days = Days(start.date(), until.date())
    with err.status("Starting …") as spinner:
        report = backfilling.backfill(
            settings,
            days,
            tables or (),
            on_progress=lambda step, detail: spinner.update(f"{DOING[step]} {detail} …"),
        )
    if as_json:
        print_json(
            {
                "run_id": report.run_id,
                "marked": [asdict(table) for table in report.marked],
                "tables": [
                    asdict(table) | {"has_changed": table.has_changed} for table in report.tables
                ],
            }
        )
    elif report.build is None:
        out.print(f"no staged event from {days.start} until {days.until}: nothing to make anew")
    else:
        _show(report)
    for warning in report.build.warnings if report.build else ():
        err.print(f"[yellow]![/] {warning}", highlight=False)


def _show(report: BackfillReport) -> None:
    marked = RichTable("source table", "events", "keys made anew")
    for source in report.marked:
        keys = "" if source.keys is None else f"{source.keys:,}"
        marked.add_row(source.table, f"{source.events:,}", keys)
    out.print(marked)
    tables = RichTable("table", "rows", "content", "changed")
    for table in report.tables:
        tables.add_row(
            table.table,
            _change(_rows(table.rows_before), _rows(table.rows_after)),
            _change(table.hash_before or "–", table.hash_after or "–"),
            "yes" if table.has_changed else "",
        )
    out.print(tables)


def _rows(count: int | None) -> str:
    return "–" if count is None else f"{count:,}"


def _change(before: str, after: str) -> str:
    return before if before == after else f"{before} → {after}"
