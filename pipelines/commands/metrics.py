"""The command `lakehouse metrics`: which metrics there are, and what they compute."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from pipelines.commands.options import Json
from pipelines.settings import Settings
from pipelines.terminal import out, print_json


def metrics(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Argument(help="Those of this table alone, as SQL over its columns.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the metrics that the last run knew, with the SQL that tells each."""
    from pipelines.semantics import MANIFEST, Semantics

    settings: Settings = context.obj
    semantics = Semantics.read(settings.state / "dbt" / MANIFEST)
    found = semantics.metrics_of(model) if model else semantics.metrics()
    if as_json:
        print_json([asdict(metric) for metric in found])
        return
    table = Table("metric", "label", "model", "expression")
    for metric in found:
        told = metric.expression or f"— {metric.reason}"
        table.add_row(*map(escape, (metric.name, metric.label, metric.model, told)))
    out.print(table)
