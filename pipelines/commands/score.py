"""The command `lakehouse score`: the champions predict, and the prediction marts are published."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pipelines.commands.options import Json
from pipelines.terminal import err, out, print_json

if TYPE_CHECKING:
    from pipelines.ml.inference import Scored


def score(
    context: typer.Context,
    kinds: Annotated[
        list[str] | None, typer.Argument(help="forecast, recommend or churn; default all.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also where the same model has seen the same data.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Predict with the champions by what is published, and publish the predictions."""
    from pipelines.ml.batch import infer

    with err.status("Predicting …") as progress:
        found = infer(
            context.obj,
            kinds,
            again=again,
            on_progress=lambda told: progress.update(f"{told} …"),
        )
    if as_json:
        print_json([asdict(each) for each in found])
        return
    show_scores(found)


def show_scores(found: list[Scored]) -> None:
    """Print what has been predicted, a line a kind."""
    for each in found:
        what = f"{each.rows:,} predictions by {each.model_version}"
        told = f"{what} ({each.used})" if each.is_news else f"{what}, as they were"
        out.print(f"{each.kind}: {escape(told)}", highlight=False)
        if each.note:
            out.print(f"[yellow]![/] {escape(each.note)}", highlight=False)
