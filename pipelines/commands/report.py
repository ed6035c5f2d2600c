"""The command `lakehouse report`: sales or stock of a period, as one HTML file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.options import Json
from pipelines.reports.period import Span
from pipelines.reports.report import FOLDER, Subject, make, write
from pipelines.settings import Settings
from pipelines.terminal import err, out, print_json


def report(
    context: typer.Context,
    subject: Annotated[Subject, typer.Argument(help="What it is about.")],
    period: Annotated[Span, typer.Option(help="The last whole one is told.")] = Span.week,
    until: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="Last day that may be told; default the last one published."
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--out", help="The HTML file; default in <home>/reports.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell sales or stock of a period, from the published tables, as one HTML file."""
    settings: Settings = context.obj
    with err.status("Reading …"):
        made = make(settings, subject, period, until.date() if until else None)
    place = file or settings.home / FOLDER / made.file_name
    write(made, place)
    if as_json:
        print_json({"file": str(place), **made.told()})
        return
    out.print(made.title, highlight=False, markup=False)
    for line in made.headline():
        out.print(f"  {line}", highlight=False, markup=False)
    out.print(f"written to {place}", highlight=False, markup=False, soft_wrap=True)
