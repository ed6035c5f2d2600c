"""The command line: `lakehouse`. Exit code 0 good, 1 failed, 2 bad usage."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from pipelines import doctor as examination
from pipelines.commands import (
    backfill,
    backtest,
    contract,
    dashboards,
    dead_letters,
    erase,
    features,
    flows,
    hand_over,
    init_env,
    landing,
    lineage,
    maintain,
    metrics,
    models,
    preview,
    publish,
    report,
    resnapshot,
    score,
    shop,
    source,
    sql,
    status,
    train,
    verify,
)
from pipelines.commands.options import Json
from pipelines.settings import load_settings
from pipelines.terminal import call, out, print_json

app = typer.Typer(
    help="Change events in, tested marts out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    context: typer.Context,
    home: Annotated[
        Path | None, typer.Option(help="The lake's folder (LAKEHOUSE_HOME; default ./lake).")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Engine (LAKEHOUSE_TARGET; default embedded).")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the trace of an error.")] = False,
) -> None:
    """Global options stand before the command."""
    context.obj = load_settings(home, target)


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Check the set-up; each finding comes with its remedy."""
    findings = examination.examine(context.obj)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = "[green]✓[/]" if finding.ok else "[red]✗[/]"
            told = f"{finding.check}: {finding.detail}"
            if finding.remedy:
                told += f"\n  → {finding.remedy}"
            # What stands in brackets, as in package[extra], is no markup.
            out.print(f"{mark} {escape(told)}", highlight=False)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


for command in (
    shop.demo,
    landing.land,
    landing.run,
    sql.sql,
    status.status,
    doctor,
    backfill.backfill,
    resnapshot.resnapshot,
    maintain.maintain,
    erase.erase,
    preview.preview,
    publish.publish,
    hand_over.hand_over,
    init_env.init_env,
    verify.verify,
    lineage.lineage,
    metrics.metrics,
    train.train,
    score.score,
    report.report,
):
    app.command()(command)
app.add_typer(shop.app, name="shop")
app.add_typer(source.app, name="source")
app.add_typer(contract.app, name="contract")
app.add_typer(dashboards.app, name="dashboards")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(features.app, name="features")
app.add_typer(flows.app, name="flows")
app.add_typer(backtest.app, name="backtest")
app.add_typer(models.app, name="models")


def main() -> None:
    """Entry point."""
    call(app)


if __name__ == "__main__":
    main()
