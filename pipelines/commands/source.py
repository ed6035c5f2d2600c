"""The command `lakehouse source add`: drafts what the lake needs of somebody's own database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table as RichTable

from pipelines.contract import load_contracts
from pipelines.settings import Settings
from pipelines.source import draft as drafting
from pipelines.source.draft import Draft
from pipelines.source.reader import read_schema
from pipelines.terminal import err, out

app = typer.Typer(help="Databases that the lake follows.", no_args_is_help=True)


@app.callback()
def source() -> None:
    """Databases that the lake follows."""


@app.command()
def add(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="postgresql://… or mariadb://user@host:port/database")],
    server: Annotated[
        str | None, typer.Option(help="Name of the source; default: the database's.")
    ] = None,
    schema: Annotated[
        str | None, typer.Option(help="Schema of a PostgreSQL database; default: public.")
    ] = None,
    tables: Annotated[
        str | None, typer.Option(metavar="RE", help="Whole table names; default: all.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="Write below this folder instead of the repository.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing.")] = False,
) -> None:
    """Read a database's schema; draft its contract, models, connector and grants."""
    settings: Settings = context.obj
    project = settings.project_dir
    root = to.absolute() if to is not None else project.parent
    with err.status("Reading the schema …"):
        found = read_schema(url, schema)
    drafted = drafting.draft(found, server=server, tables=tables, project=project.name)
    if not dry_run:
        drafting.refuse_overwriting(drafted, root)
        if root == project.parent:
            models = {path.stem for path in (project / "models").rglob("*.sql")}
            drafting.refuse_a_second(drafted, load_contracts(project, may_be_none=True), models)
        drafting.write(drafted, root)
    _show(drafted)
    _show_files(drafted, root, dry_run=dry_run)
    _show_steps(drafted)


def _show(drafted: Draft) -> None:
    shown = RichTable("table", "key", "columns", "personal (guessed)", "may be left out (TOAST)")
    for table in drafted.source.tables:
        personal = [f"{c.name}: {c.pii}" for c in table.columns if c.pii]
        personal += [f"{c.name}: in the key!" for c in table.columns if c.is_personal_key]
        key = ", ".join(table.table.key) or "none: history only"
        toast = [c.name for c in table.columns if c.is_toast]
        shown.add_row(
            table.name, key, str(len(table.columns)), ", ".join(personal), ", ".join(toast)
        )
    out.print(shown)
    told = [(name, why) for name, why in drafted.skipped.items()]
    for table in drafted.source.tables:
        told += [(f"{table.name}.{name}", why) for name, why in table.left_out.items()]
        told += [(table.name, note) for note in table.table.notes]
    for name, why in told:
        out.print(f"[yellow]![/] {escape(name)}: {why}", highlight=False, soft_wrap=True)


def _show_files(drafted: Draft, root: Path, *, dry_run: bool) -> None:
    out.print("Would be written:" if dry_run else "Written:")
    for name in drafted.files:
        out.print(f"  {root / name}", markup=False, highlight=False, soft_wrap=True)


def _show_steps(drafted: Draft) -> None:
    source = drafted.source
    variables = ", ".join(
        f"{source.variable}_{name}" for name in ("DB_HOST", "DB_PORT", "CDC_PASSWORD")
    )
    to_confirm = sum(
        bool(c.pii or c.is_personal_key) for table in source.tables for c in table.columns
    )
    steps = [
        f"Read the contract: {to_confirm} columns are marked `to confirm`, by name and type alone. "
        "What lands in the clear cannot be taken back.",
        *(f"At the database: {note}." for note in source.notes),
        f"There, as a superuser: {drafting.administration(source)}",
        f"Give Connect the variables {variables}, then register "
        f"infra/connect/connectors/{source.server}.json (compose: `up connect connect-init`).",
        "lakehouse run --kafka HOST:PORT",
        f"lakehouse verify URL --server {source.server}",
    ]
    out.print("Next:")
    for number, step in enumerate(steps, start=1):
        out.print(f"  {number}. {step}", markup=False, highlight=False, soft_wrap=True)
