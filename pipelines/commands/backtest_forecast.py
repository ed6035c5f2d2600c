"""The command `lakehouse backtest forecast`: the forecasting pipeline on anybody's sales."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table as RichTable

from pipelines.commands.options import Json
from pipelines.data_file import read_data_file
from pipelines.errors import LakehouseError, UsageError
from pipelines.settings import CLOSED_DAY
from pipelines.terminal import err, out, print_json

if TYPE_CHECKING:
    from pipelines.forecasting.backtest import Backtest
    from pipelines.forecasting.panel import Panel
    from pipelines.forecasting.scores import Row


def _days(told: list[str] | None) -> list[str] | None:
    for day in told or ():
        if not re.fullmatch(CLOSED_DAY, day):
            raise UsageError(f"--closed {day} is no day", "write 12-25, or 2018-01-02")
    return told


def forecast(
    sales: Annotated[
        Path,
        typer.Option(
            help="Parquet or CSV with product_id, date, quantity; optional revenue, discount, "
            "department, category, brand."
        ),
    ],
    known_ahead: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Column of the file that is known beforehand; repeatable. Default: each further "
            "numeric one, if the file has a row for every day, sold or not.",
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(help="File with product_id, date and numeric columns known beforehand."),
    ] = None,
    closed: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DAY",
            callback=_days,
            help="Day on which no shop opens: 12-25 of each year, 2018-01-02 once; repeatable.",
        ),
    ] = None,
    horizon: Annotated[int, typer.Option(min=1, max=91, help="Days to forecast.")] = 28,
    origins: Annotated[int, typer.Option(min=1, help="How often, a horizon apart.")] = 3,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day; default the file's.")
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="Only so many best sellers up to each origin.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Forecast past days by what was known before them, and compare with what was sold."""
    try:
        from pipelines.forecasting.backtest import backtest, origins_before
        from pipelines.forecasting.lines import panel_of, unused_columns
        from pipelines.forecasting.model import ForecastConfig
    except ImportError as error:
        raise LakehouseError(
            f"{error.name} is not installed", "pip install 'lakehouse-platform[ml]'"
        ) from None
    lines = read_data_file(sales)
    panel = panel_of(
        lines,
        known_ahead=known_ahead,
        plan=read_data_file(plan) if plan is not None else None,
        closed=closed or (),
    )
    if until is not None:
        panel = _cut(panel, until, horizon)
    chosen = origins_before(panel, horizon, origins)
    with err.status("Forecasting …") as progress:
        found = backtest(
            panel,
            chosen,
            ForecastConfig(horizon=horizon),
            top=top,
            done=lambda day: progress.update(f"Forecasting … {day} is done"),
        )
    notes = panel.findings.sentences()
    if known := [name for name in panel.plan if name in lines.column_names]:
        notes.append(f"taken as known ahead: {', '.join(known)}; see --known-ahead")
    if unused := unused_columns(lines, panel.plan):
        notes.append(f"not used: {', '.join(unused)}; see --known-ahead")
    if as_json:
        print_json(_as_json(found, panel, notes))
        return
    for note in notes:
        err.print(f"[yellow]![/] {escape(note)}", highlight=False)
    for table in _tables(found):
        out.print(table)
    for day, choice in found.choices.items():
        told = f"{day}: the pipeline uses [bold]{escape(choice.name)}[/]: {escape(choice.reason)}"
        out.print(told, highlight=False)


def _cut(panel: Panel, until: datetime, horizon: int) -> Panel:
    last = panel.index(np.datetime64(until, "D"))
    if not 0 <= last < panel.days:
        raise UsageError(
            f"{until:%Y-%m-%d} lies outside the sales, which go from {panel.start} to {panel.last}",
            "give --until a day among them",
        )
    return panel.until(last, ahead=horizon)


def _tables(found: Backtest) -> Iterator[RichTable]:
    several = [None] if len(found.products) > 1 else []
    for origin in [*found.products, *several]:
        rows = [row for row in found.rows if row.origin == origin]
        if origin is None:
            title = f"Mean of {len(found.products)} origins"
        else:
            title = f"{found.horizon} days after {origin}: {found.products[origin]:,} products"
        yield _table(title, rows)


def _table(title: str, rows: list[Row]) -> RichTable:
    table = RichTable("method", title=title)
    for name in ("WAPE day", "WAPE week", "RMSSE", "bias", "department WAPE", "p10–p90 holds"):
        table.add_column(name, justify="right")
    for row in rows:
        score = row.score
        figures = [score.wape_day, score.wape_week, score.rmsse]
        table.add_row(
            row.method,
            *("–" if math.isnan(figure) else f"{figure:.3f}" for figure in figures),
            f"{score.bias:+.1%}",
            "" if score.wape_department is None else f"{score.wape_department:.3f}",
            f"{row.quantiles.coverage:.1%}" if row.quantiles else "",
            style="bold" if row.method == "pipeline" else None,
        )
    return table


def _as_json(found: Backtest, panel: Panel, notes: list[str]) -> dict[str, Any]:
    return {
        "horizon": found.horizon,
        "first_day": str(panel.start),
        "last_day": str(panel.last),
        "known_ahead": list(panel.plan),
        "findings": asdict(panel.findings),
        "notes": notes,
        "origins": [
            {
                "origin": str(day),
                "products": found.products[day],
                "uses": choice.name,
                "baseline": choice.baseline,
                "model_weight": choice.weight,
                "reason": choice.reason,
                "validation_losses": _plain(dict(choice.losses)),
                "scores": [_row(row) for row in found.rows if row.origin == day],
            }
            for day, choice in found.choices.items()
        ],
        "mean": [_row(row) for row in found.rows if row.origin is None],
    }


def _row(row: Row) -> dict[str, Any]:
    quantiles = asdict(row.quantiles) if row.quantiles else None
    return {"method": row.method} | _plain(asdict(row.score)) | {"quantiles": quantiles}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no NaN: what is not defined is null."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in values.items()
    }
