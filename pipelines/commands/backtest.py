"""The commands `lakehouse backtest …`: models tried on past days that they have not seen."""

from __future__ import annotations

import typer

from pipelines.commands.backtest_forecast import forecast
from pipelines.commands.backtest_recommend import recommend

app = typer.Typer(help="How well models would have done on past days.", no_args_is_help=True)
app.command()(forecast)
app.command()(recommend)
