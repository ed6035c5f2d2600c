"""The command `lakehouse verify`: are the staged rows those of the database?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table as RichTable

from pipelines.commands.options import Json
from pipelines.contract import load_contracts
from pipelines.settings import Settings
from pipelines.terminal import err, out, print_json
from pipelines.verify import reconcile
from pipelines.verify.differences import Difference
from pipelines.verify.reconcile import TableReport, VerifyReport

_SHOWN_LETTERS = 60
_RESULTS = {"equal": "[green]equal[/]", "different": "[red]different[/]", "counted": "rows equal"}


def verify(
    context: typer.Context,
    url: Annotated[
        str,
        typer.Argument(
            help="postgresql://user@host:5432/database or mariadb://user@host:3306/database"
        ),
    ],
    server: Annotated[
        str | None, typer.Option(help="Whose database this is; needed if contracts name several.")
    ] = None,
    tables: Annotated[
        str | None, typer.Option(metavar="RE", help="Whole table names; default: all.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare the staged rows with the source's, by value; exit code 1 where they differ."""
    settings: Settings = context.obj
    with err.status("Comparing …") as spinner:
        report = reconcile.verify(
            settings,
            load_contracts(settings.project_dir),
            url,
            server=server,
            tables=tables,
            on_progress=lambda topic: spinner.update(f"Comparing {topic} …"),
        )
    if as_json:
        print_json(asdict(report) | {"is_equal": report.is_equal})
    else:
        _show(report)
    if not report.is_equal:
        raise typer.Exit(1)


def _show(report: VerifyReport) -> None:
    shown = RichTable("table", "rows at the source", "rows in the lake", "ranges differing", "")
    for table in report.tables:
        shown.add_row(
            table.table,
            _count(table.source_rows),
            _count(table.lake_rows),
            f"{table.ranges_differing:,} of {table.ranges:,}",
            _RESULTS[table.result],
        )
    out.print(shown)
    for table in report.tables:
        _show_table(table)
    if report.newest_change is not None:
        written = (
            "it does not tell how much the source has written to its log since then"
            if report.behind_bytes is None
            else f"since then the source has written {report.behind_bytes:,} bytes to its log"
        )
        _line(
            f"The newest change staged is of {report.newest_change:%Y-%m-%d %H:%M:%S} UTC; "
            f"{written}."
        )
    if not report.is_equal and report.newest_change is not None and report.behind_bytes != 0:
        out.print("Differences may be changes on their way: land and build, then verify again.")


def _show_table(table: TableReport) -> None:
    if table.first is not None:
        _line(f"{table.table}: first difference at {_row(table.first)}")
    if table.why is not None:
        _line(f"{table.table}: {table.why}")
    for name, why in table.not_compared.items():
        _line(f"{table.table}.{name} not compared: {why}")


def _row(first: Difference) -> str:
    key = ", ".join(f"{name} {value}" for name, value in first.key.items())
    if first.found_in != "both":
        return f"{key}: only in the {first.found_in}"
    told = "; ".join(
        f"{name}: source {_value(there)}, lake {_value(here)}"
        for name, (there, here) in first.columns.items()
    )
    return f"{key}: {told}"


def _value(text: str | None) -> str:
    if text is None:
        return "nothing"
    return repr(text if len(text) <= _SHOWN_LETTERS else text[: _SHOWN_LETTERS - 1] + "…")


def _count(rows: int | None) -> str:
    return "–" if rows is None else f"{rows:,}"


def _line(text: str) -> None:
    out.print(escape(text), highlight=False, soft_wrap=True)
