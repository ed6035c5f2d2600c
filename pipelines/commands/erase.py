"""The command `lakehouse erase`: a person leaves the lake."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from pipelines import erase as erasure
from pipelines.cdc.erasures import Person
from pipelines.commands.options import Json
from pipelines.errors import UsageError
from pipelines.settings import Settings
from pipelines.terminal import err, print_json


def erase(
    context: typer.Context,
    client: Annotated[str, typer.Option(help="Id of the client, as the source gives it.")],
    delete_captures: Annotated[
        bool,
        typer.Option(
            "--delete-captures", help="Delete inbox files that name the client, once landed."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Erase a client everywhere in the lake, for good; exit code 1 if a trace is left."""
    settings: Settings = context.obj
    person = Person("client", client.strip())
    if not yes and not typer.confirm(f"Erase client {person.id} from {settings.home} for good?"):
        raise UsageError("nothing was erased", "answer y, or add --yes")
    with err.status("Erasing …") as spinner:
        report = erasure.erase(
            settings, person, on_progress=lambda step: spinner.update(f"{step} …")
        )
    if delete_captures:
        erasure.delete_captures(settings, report)
    if as_json:
        print_json(asdict(report))
    else:
        _show(report)
    if report.remaining or report.captures:
        raise typer.Exit(1)


def _show(report: erasure.ErasureReport) -> None:
    rows = ", ".join(f"{topic} {rows:,}" for topic, rows in report.rows.items() if rows)
    again = " (on the list since a former erasure)" if report.was_listed else ""
    lines = [
        f"[green]✓[/] rows     {rows or 'none'}{again}",
        f"[green]✓[/] letters  {report.letters:,} emptied",
        "[green]✓[/] marts    built and published anew, former versions deleted",
    ]
    for file, told in report.remaining.items():
        lines.append(f"[red]✗[/] search   {file} still tells of the client ({told})")
    if report.remaining:
        lines.append("  → where a landing is on, or has crashed, repeat this in an hour")
    else:
        lines.append("[green]✓[/] search   no trace is left in the lake")
    for path in report.captures:
        lines.append(f"[red]✗[/] inbox    {path} names the client")
    if report.captures:
        lines.append("  → once landed, these can go: add --delete-captures")
    for line in lines:
        err.print(line, highlight=False, soft_wrap=True)
