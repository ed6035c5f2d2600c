"""The command `lakehouse hand-over`: which engine writes the raw tables from now on."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.contract import load_contracts
from pipelines.lake import lock
from pipelines.lake.storage import clear_about_storage
from pipelines.lake.tables import raw_path
from pipelines.lake.writer import Writer
from pipelines.lake.writer import hand_over as give
from pipelines.settings import Settings
from pipelines.terminal import out


def hand_over(
    context: typer.Context,
    writer: Annotated[Writer, typer.Argument(help="Who is to write them.")],
) -> None:
    """Hand the raw tables over to Spark's jobs (spark_jobs), or take them back.

    Each goes on where the ledger ends. A landing that is still on is refused its next commit.
    """
    settings: Settings = context.obj
    folders = [
        raw_path(settings.raw, table) for table in load_contracts(settings.project_dir).tables
    ]
    with (
        clear_about_storage(settings),
        lock.exclusive(settings.state, "lakehouse hand-over", name=lock.MAINTENANCE),
    ):
        changed = give(folders, writer)
    for folder in changed:
        out.print(f"{folder.name}: now written by {writer}", highlight=False)
    if not changed:
        out.print("nothing to change", highlight=False)
