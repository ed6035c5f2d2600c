"""How a person names source tables: by name, topic, or name in SQL."""

from __future__ import annotations

from collections.abc import Collection

from pipelines.contract import Contracts, Table
from pipelines.errors import UsageError


def tables_called(contracts: Contracts, names: Collection[str]) -> list[Table]:
    """The tables of these names, in the order of the contracts; all if no name is given.

    Raises:
        UsageError: a name means no table, or several.
    """
    for name in names:
        meant = [table.topic for table in contracts.tables if _is_called(table, name)]
        if not meant:
            told = ", ".join(table.topic for table in contracts.tables)
            raise UsageError(f"no contract describes a table {name}", f"there are: {told}")
        if len(meant) > 1:
            raise UsageError(
                f"{name} means {len(meant)} tables", f"name one by its topic: {', '.join(meant)}"
            )
    return [
        table
        for table in contracts.tables
        if not names or any(_is_called(table, name) for name in names)
    ]


def _is_called(table: Table, name: str) -> bool:
    return name.removeprefix("raw.") in (table.name, table.topic, table.sql_name)
