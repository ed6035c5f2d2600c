"""The commands `lakehouse backtest …`: models tried on purchases that they have not seen."""

from __future__ import annotations

import typer

from pipelines.commands.backtest_recommend import recommend

app = typer.Typer(help="Try the models on anybody's data.", no_args_is_help=True)
app.command()(recommend)
