"""The command `lakehouse preview`: changed models built beside, and what they would change."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table

from pipelines.commands.options import Json
from pipelines.preview.diff import Example, TableDiff
from pipelines.settings import Settings
from pipelines.targets import refuse_server
from pipelines.terminal import err, out, print_json


def preview(
    context: typer.Context,
    examples: Annotated[
        int, typer.Option(min=0, help="So many rows of each kind of difference are shown.")
    ] = 3,
    as_json: Json = False,
) -> None:
    """Build what was changed in the models beside, and show what would change for readers."""
    from pipelines.preview.build import preview as build_beside
    from pipelines.preview.differences import differences

    settings: Settings = context.obj
    refuse_server(settings, "lakehouse preview")
    with err.status("Building …") as shown:
        built = build_beside(settings, lambda name: shown.update(f"Building: {escape(name)}"))
        shown.update("Comparing …")
        found = differences(settings, built, examples)
    if as_json:
        print_json(
            {
                "publication": built.published.version,
                "models": built.built,
                "notes": built.notes,
                "tables": [asdict(each) for each in found],
                "home": str(built.settings.home),
            }
        )
        return
    for note in built.notes:
        err.print(f"[yellow]note:[/] {escape(note)}", highlight=False, soft_wrap=True)
    if not built.built and not found:
        out.print(f"no model differs from those of publication {built.published.version}")
        return
    out.print(f"{len(built.built)} models built beside: {escape(', '.join(built.built))}")
    show(found)
    home = escape(shlex.quote(str(built.settings.home)))
    out.print(f"look closer: lakehouse --home {home} sql …", highlight=False, soft_wrap=True)


def show(found: list[TableDiff]) -> None:
    """Print differences as a table, with their examples below it."""
    if not found:
        out.print("no published table is among them")
        return
    name = Column("table", min_width=max(len(each.table) for each in found))
    table = Table(name, "", "key", "rows", "added", "removed", "changed", "columns")
    for each in found:
        table.add_row(
            each.table, each.state, ", ".join(each.key) or "–", _rows(each),
            *(f"{n:,}" for n in (each.added, each.removed, each.changed)), escape(_columns(each)),
        )  # fmt: skip
    out.print(table)
    for each in found:
        for example in each.examples:
            out.print(escape(f"{each.table}: {_told(example)}"), highlight=False, soft_wrap=True)


def _rows(each: TableDiff) -> str:
    before, after = (
        "–" if rows is None else f"{rows:,}" for rows in (each.rows_before, each.rows_after)
    )
    return before if before == after else f"{before} → {after}"


def _columns(each: TableDiff) -> str:
    told = [f"{name} {rows:,}" for name, rows in each.columns.items()]
    told += [f"+ {column}" for column in each.columns_added]
    told += [f"- {column}" for column in each.columns_removed]
    told += [f"{name}: {old} → {new}" for name, (old, new) in each.columns_retyped.items()]
    return "\n".join(told)


def _told(example: Example) -> str:
    if example.kind == "changed":
        values = ", ".join(
            f"{name}: {_value(old)} → {_value(new)}" for name, (old, new) in example.values.items()
        )
        return f"changed {_row(example.key)} {values}"
    return f"{example.kind} {_row(example.key | example.values)}"


def _row(values: dict[str, Any]) -> str:
    return json.dumps(values, default=str)


def _value(value: Any) -> str:
    return "null" if value is None else str(value)
