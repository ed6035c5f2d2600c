"""The command `lakehouse train`: learn from what is published; the gate decides who predicts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table as RichTable

from pipelines.commands.options import Json
from pipelines.errors import UsageError
from pipelines.terminal import err, out, print_json

if TYPE_CHECKING:
    from pipelines.ml.training import Trained


def train(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="forecast, recommend or churn.")],
    origins: Annotated[
        int, typer.Option(min=1, help="On how many past horizons it is compared.")
    ] = 3,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A parameter of the training; repeatable."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a model; it becomes champion only if it beats champion and baselines beyond noise."""
    from pipelines.ml.training import train

    recipe = dict(_assigned(text) for text in parameter or [])
    with err.status(f"Training {kind} …") as progress:
        found = train(
            context.obj,
            kind,
            recipe,
            origins=origins,
            on_progress=lambda told: progress.update(f"Training {kind}: {told} …"),
        )
    if as_json:
        print_json(_as_json(found))
        return
    show_training(found)


def _assigned(text: str) -> tuple[str, Any]:
    name, is_told, value = text.partition("=")
    if not is_told or not name:
        raise UsageError(f"--set {text!r} is no parameter", "write it as NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def show_training(found: Trained) -> None:
    """Print the contest and what the gate made of it."""
    trial, verdict = found.trial, found.verdict
    table = RichTable("origin", title=f"{found.version.kind}: {trial.metric}, lower is better")
    for name in trial.contenders:
        table.add_column(name, justify="right")
    for part in trial.parts:
        table.add_row(part.origin, *(f"{part.value(name):.4f}" for name in trial.contenders))
    table.add_row("all", *(f"{trial.value(name):.4f}" for name in trial.contenders), style="bold")
    out.print(table)
    for check in verdict.checks:
        if not check.passed:
            told = f"[red]✗[/] {check.name}: {escape(check.told)}"
            out.print(told, highlight=False)
    for note in found.notes:
        out.print(f"[yellow]![/] {escape(note)}", highlight=False)
    word = "[green]promoted[/]" if verdict.is_promoted else "[yellow]refused[/]"
    out.print(f"{found.version.name} is {word}: {escape(verdict.reason)}", highlight=False)


def _as_json(found: Trained) -> dict[str, Any]:
    trial, verdict = found.trial, found.verdict
    return {
        "model": found.version.name,
        "sha256": found.version.sha256,
        "trained_until": found.version.trained_until,
        "used": found.used,
        "is_promoted": verdict.is_promoted,
        "reason": verdict.reason,
        "metric": trial.metric,
        "origins": [
            {
                "origin": part.origin,
                "losses": {name: part.value(name) for name in trial.contenders},
                "metrics": {n: v if v == v else None for n, v in part.metrics.items()},
                "used": part.used,
            }
            for part in trial.parts
        ],
        "comparisons": [
            {
                "against": each.against,
                "its": each.other,
                "own": each.own,
                "gain": each.gain,
                "low": each.low,
                "high": each.high,
                "is_beyond_noise": each.is_beyond_noise,
            }
            for each in verdict.comparisons
        ],
        "checks": [
            {"subject": c.subject, "name": c.name, "passed": c.passed, "told": c.told}
            for c in verdict.checks
        ],
        "notes": list(found.notes),
    }
