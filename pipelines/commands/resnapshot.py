"""The command `lakehouse resnapshot`: begin a new epoch of a table, and tell what must follow."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from pipelines import resnapshot as resnapshotting
from pipelines.commands.options import Json
from pipelines.resnapshot import Resnapshot
from pipelines.settings import Settings
from pipelines.terminal import out, print_json


def resnapshot(
    context: typer.Context,
    table: Annotated[str, typer.Argument(help="Source table: name, topic, or name in SQL.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; tell what would follow.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Even if nothing of the present epoch has landed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Begin a new epoch of a table whose source's positions began anew, or lost changes."""
    settings: Settings = context.obj
    begun = resnapshotting.resnapshot(settings, table, force=force, dry_run=dry_run)
    if as_json:
        print_json(asdict(begun) | {"dry_run": dry_run})
    else:
        _show(begun, dry_run=dry_run)


def _show(begun: Resnapshot, *, dry_run: bool) -> None:
    signal = begun.signal
    lines = [
        f"{begun.topic}: epoch {begun.former_epoch} → {begun.epoch} in {begun.file}"
        + (" (not changed: dry run)" if dry_run else ""),
        "",
        *(f"{number}. {step}" for number, step in enumerate(begun.steps, start=1)),
        "",
        "In the source database, into the table that signal.data.collection names:",
        f"  {signal.sql}",
        "Or to the topic that signal.kafka.topic names (kafka among signal.enabled.channels):",
        f"  key    {signal.kafka_key}",
        f"  value  {signal.kafka_value}",
    ]
    for line in lines:
        # To be copied: neither broken nor taken for markup.
        out.print(line, markup=False, highlight=False, soft_wrap=True)
