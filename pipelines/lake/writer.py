"""Which engine writes a raw table: one at a time, told by a property of the table itself.

A hand-over changes the table's metadata, so that a commit which the former writer has begun is
refused; before its next one it looks here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from deltalake import DeltaTable

from pipelines.errors import LakehouseError

Writer = Literal["lakehouse", "spark"]
LAKEHOUSE: Writer = "lakehouse"
SPARK: Writer = "spark"
# A table without it is written by this package.
PROPERTY = "lakehouse.writer"
_OF_SPARK = {
    # Spark's checkpoints with structs of statistics keep DuckDB from reading tables with times.
    "delta.checkpoint.writeStatsAsStruct": "false",
}


def properties_for(writer: Writer) -> dict[str, str]:
    """Properties of a table that an engine is to write."""
    return {PROPERTY: writer, **(_OF_SPARK if writer == SPARK else {})}


def writer_of(table: DeltaTable) -> str:
    """The engine that writes the table, at the version that is open."""
    return table.metadata().configuration.get(PROPERTY) or LAKEHOUSE


def refuse_other_writer(table: DeltaTable, writer: Writer) -> None:
    """See that a table is this writer's, before it is written or maintained.

    Raises:
        LakehouseError: it is another one's.
    """
    owner = writer_of(table)
    if owner != writer:
        raise LakehouseError(
            f"{table.table_uri} is written by {owner}, and by one engine at a time",
            f"stop the jobs of {owner}, then hand the tables over: lakehouse hand-over {writer}",
        )


def hand_over(folders: Iterable[Path], writer: Writer) -> list[Path]:
    """Make an engine the writer of tables; returns those that had another one."""
    changed = []
    for folder in folders:
        if not DeltaTable.is_deltatable(str(folder)):
            continue
        table = DeltaTable(str(folder))
        if writer_of(table) != writer:
            table.alter.set_table_properties(properties_for(writer), raise_if_not_exists=False)
            changed.append(folder)
    return changed
