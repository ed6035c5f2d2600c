"""The commands `lakehouse demo` and `lakehouse shop capture`."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table as RichTable

from pipelines.commands.landing import run_chain
from pipelines.contract import load_contracts
from pipelines.demo import summary
from pipelines.demo.database import run as play
from pipelines.demo.models import train_and_predict
from pipelines.demo.shop import capture
from pipelines.errors import UsageError
from pipelines.lake import lock
from pipelines.lake.catalog import reader
from pipelines.lake.publish import read_manifest
from pipelines.lake.storage import clear_about_storage
from pipelines.settings import EMBEDDED, Settings
from pipelines.terminal import err, out

app = typer.Typer(help="The demo shop: real purchases as change events.", no_args_is_help=True)

Clients = Annotated[
    str, typer.Option(help="How many households of the 2,469 shop: a number, or all.")
]


def demo(
    context: typer.Context,
    clients: Clients = "500",
    models: Annotated[
        bool, typer.Option("--models/--no-models", help="Train models and predict with them.")
    ] = True,
) -> None:
    """Make the demo shop's events, run the whole chain on them and show what is published."""
    settings: Settings = context.obj
    count = _clients(clients)
    with (
        err.status("The shop writes its change events …"),
        lock.exclusive(settings.state, "lakehouse demo"),
        clear_about_storage(settings),
    ):
        captured = capture(settings.inbox, clients=count)
    err.print(f"[green]✓[/] shop     {captured.events:,} change events in {settings.inbox}")
    report = run_chain(settings, None, "lakehouse demo")
    if report.manifest is None or settings.target != EMBEDDED:
        return
    if models:
        train_and_predict(settings)
    with reader(settings, load_contracts(settings.project_dir)) as connection:
        # Since the run, predictions may have been published.
        manifest = read_manifest(settings.published) or report.manifest
        summary.show(connection, manifest, out, program=_program())


@app.command("capture")
def shop_capture(
    to: Annotated[Path, typer.Option(help="Folder to write to.")],
    clients: Clients = "500",
    start: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First day (UTC), included."),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day (UTC), excluded.")
    ] = None,
    defects: Annotated[
        float, typer.Option(min=0, max=1, metavar="SHARE", help="Share of sales to spoil.")
    ] = 0.0,
) -> None:
    """Write capture files: a slice of one deterministic log; slices join without a seam."""
    report = capture(
        to,
        clients=_clients(clients),
        start=start.date() if start else None,
        until=until.date() if until else None,
        defects=defects,
    )
    table = RichTable("table", "events", title=f"{report.events:,} events in {to}")
    for name, events in report.events_by_table.items():
        table.add_row(name, f"{events:,}")
    out.print(table)
    if report.defects:
        out.print(f"The spoiled sales are listed in {report.defects}", highlight=False)


@app.command("run")
def shop_run(
    database: Annotated[
        str, typer.Option(metavar="URL", help="Of a PostgreSQL database of its own.")
    ],
    clients: Clients = "500",
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day (UTC), excluded.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.1, help="Changes a second at most; default: no limit.")
    ] = None,
    disturb_every: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="CHANGES",
            help="Now and then change keys, swap two, truncate a table, write a large text, "
            "add a column.",
        ),
    ] = None,
) -> None:
    """Play the shop on a database, transaction by transaction; a repeat goes on where it was."""
    with err.status("Building the shop …") as spinner:
        report = play(
            database,
            clients=_clients(clients),
            until=until.date() if until else None,
            rate=rate,
            disturb_every=disturb_every,
            on_progress=lambda changes: spinner.update(f"{changes:,} changes …"),
        )
    changes = sum(report.changes.values())
    title = f"{changes:,} changes in {report.transactions:,} transactions"
    table = RichTable("table", "changes", title=title)
    for name, number in report.changes.items():
        table.add_row(name, f"{number:,}")
    out.print(table)
    if report.is_over:
        out.print("The shop's year is over: a repeat has nothing to do.")


def _program() -> str:
    """How this program was called, so that a shown command can be copied as it is."""
    called = Path(sys.argv[0])
    if not called.is_relative_to(Path.cwd()):
        return str(called) if len(called.parts) > 1 and called.name == "lakehouse" else "lakehouse"
    return str(called.relative_to(Path.cwd()))


def _clients(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal():
        raise UsageError(f"--clients {text} is no number", "give a number from 1 to 2469, or all")
    return int(text)
