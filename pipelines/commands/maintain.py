"""The command `lakehouse maintain`: compact tables, shorten logs, delete what nobody reads."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table as RichTable

from pipelines import maintain as maintenance
from pipelines.commands.options import Json
from pipelines.contract import load_contracts
from pipelines.lake.ids import new_run_id
from pipelines.lake.storage import clear_about_storage
from pipelines.maintain import WEEK_HOURS, TableReport
from pipelines.settings import Settings
from pipelines.terminal import err, out, print_json


def maintain(
    context: typer.Context,
    tables: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TABLE]...", help="As in SQL, or a topic; default all."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; tell what would be done.")
    ] = False,
    keep_hours: Annotated[
        int, typer.Option(help="How long replaced files and log entries are kept.")
    ] = WEEK_HOURS,
    force: Annotated[bool, typer.Option("--force", help="Keep them for less than a week.")] = False,
    as_json: Json = False,
) -> None:
    """Compact small files, checkpoint, and delete files and log entries that nobody needs."""
    settings: Settings = context.obj
    keep = maintenance.kept(keep_hours, force=force)
    chosen = maintenance.targets(settings, load_contracts(settings.project_dir), tables or ())
    with err.status("Maintaining …") as spinner, clear_about_storage(settings):
        reports = maintenance.maintain(
            settings,
            chosen,
            new_run_id(),
            keep=keep,
            dry_run=dry_run,
            on_table=lambda name: spinner.update(f"Maintaining {name} …"),
        )
    if as_json:
        print_json([asdict(report) for report in reports])
        return
    if reports:
        _show(reports, dry_run=dry_run)
    else:
        out.print("there is no table yet")


def _show(reports: list[TableReport], *, dry_run: bool) -> None:
    table = RichTable(title="What would be done" if dry_run else None)
    # A name that is cut names nothing.
    table.add_column("table", no_wrap=True)
    for name in ("rows retired", "files", "MiB", "log entries", "files removed", "skipped"):
        table.add_column(name)
    for report in reports:
        before, after = report.before, report.after
        table.add_row(
            report.table,
            f"{report.retired:,}",
            _change(f"{before.files:,}", f"{after.files:,}"),
            _change(f"{before.mebibytes:,.1f}", f"{after.mebibytes:,.1f}"),
            _change(f"{before.log_entries:,}", f"{after.log_entries:,}"),
            f"{report.files_removed:,}",
            "; ".join(report.skipped),
        )
    out.print(table)
    if any(report.retired for report in reports) and not dry_run:
        out.print("Rows were retired: the next `lakehouse run` builds everything anew.")


def _change(before: str, after: str) -> str:
    return before if before == after else f"{before} → {after}"
