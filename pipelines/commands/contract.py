"""The commands `lakehouse contract …`: where the contracts and what arrived do not agree."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table as RichTable

from pipelines import contract_check
from pipelines.commands.options import Json
from pipelines.contract import load_contracts
from pipelines.settings import Settings
from pipelines.terminal import err, out, print_json

app = typer.Typer(help="Contracts of the source tables.", no_args_is_help=True)


@app.callback()
def contract() -> None:
    """Contracts of the source tables."""


@app.command()
def check(
    context: typer.Context,
    tables: Annotated[
        list[str] | None, typer.Argument(help="Topics or names of tables; default all.")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write new columns and wider types into the contracts.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare contracts with what arrived; exit code 1 where they do not agree."""
    settings: Settings = context.obj
    contracts = load_contracts(settings.project_dir)
    chosen = contract_check.chosen(contracts, tables or [])
    with err.status("Comparing …"):
        findings = contract_check.check(settings, chosen)
    if as_json:
        print_json([contract_check.as_row(finding) for finding in findings])
    elif findings:
        shown = RichTable("table", "column", "finding", "count", "proposal")
        for f in findings:
            shown.add_row(f.table, escape(f.column), f.finding, f"{f.count:,}", f.proposal)
        out.print(shown)
    if not findings:
        err.print("[green]✓[/] contracts and arrivals agree")
        return
    for table in chosen if write else []:
        written = contract_check.write(settings.project_dir, table, findings)
        for column in dict.fromkeys(f.column for f in written):
            is_new = column not in {c.name for c in table.columns}
            told = _new_column(table.has_pii) if is_new else "has a wider type"
            err.print(f"[green]✓[/] {table.file}: {table.name}.{column} {told}", highlight=False)
    if write:
        err.print("land again, then: lakehouse dead-letters replay", highlight=False)
    raise typer.Exit(1)


def _new_column(has_pii: bool) -> str:
    if has_pii:
        return "is new, with pii: hash; a person must decide whether it is personal data"
    return "is new, without pii; a person must decide, before it lands, whether it is personal data"
