"""The command `lakehouse sql`: one query, its answer as a table, CSV or JSON."""

from __future__ import annotations

import csv
import sys
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import duckdb
import typer
from rich.table import Table as RichTable

from pipelines.contract import load_contracts
from pipelines.errors import LakehouseError
from pipelines.lake.catalog import only_reads, reader
from pipelines.settings import Settings
from pipelines.terminal import out, print_json


class Format(StrEnum):
    """How `sql` prints its answer."""

    table = "table"
    csv = "csv"
    json = "json"


def sql(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="One SQL query (DuckDB dialect).")],
    output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.table,
    wait: Annotated[
        bool, typer.Option("--wait", help="If a run is on, wait for it before reading staging.")
    ] = False,
) -> None:
    """Query the lake: marts as last published, raw, and (between runs) staging."""
    settings: Settings = context.obj
    contracts = load_contracts(settings.project_dir)
    try:
        with reader(settings, contracts, query, 3600.0 if wait else 0.0) as connection:
            only_reads(connection, query)
            answer = connection.execute(query)
            names = [column[0] for column in answer.description or []]
            rows = answer.fetchall()
    except duckdb.Error as error:
        raise LakehouseError(
            f"the query failed: {error}",
            'list what there is with: lakehouse sql "show all tables"',
        ) from None
    _print_rows(names, rows, output)


def _print_rows(names: list[str], rows: list[tuple[Any, ...]], output: Format) -> None:
    if output is Format.json:
        print_json([dict(zip(names, map(_plain, row), strict=True)) for row in rows])
    elif output is Format.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([["" if v is None else _plain(v) for v in row] for row in rows])
    else:
        _print_table(names, [["" if v is None else str(_plain(v)) for v in row] for row in rows])
        out.print(f"{len(rows):,} row{'' if len(rows) == 1 else 's'}", highlight=False)


def _print_table(names: list[str], rows: list[list[str]]) -> None:
    """A table where it fits; else each row as lines of `name  value`, so that nothing is cut."""
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    if sum(widths) + 3 * len(widths) + 1 <= out.width:
        table = RichTable(*names)
        for row in rows:
            table.add_row(*row)
        out.print(table)
        return
    label = max(map(len, names))
    for number, row in enumerate(rows, start=1):
        out.rule(f"row {number:,}", align="left")
        for name, value in zip(names, row, strict=True):
            out.print(f"{name:<{label}}  {value}", markup=False, highlight=False, soft_wrap=True)


def _plain(value: Any) -> Any:
    """Decimals and times as text: JSON has neither."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value
