"""The queries of docs/cookbook.md, and the columns that it shows of their answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.markdown_blocks import Block, blocks

COOKBOOK = Path(__file__).parents[1] / "docs" / "cookbook.md"
_CELL = re.compile(r"[┃│]")


@dataclass(frozen=True)
class Recipe:
    """A query, and the columns that the page shows of its answer."""

    title: str
    query: Block
    columns: list[str]

    @property
    def is_for_duckdb_alone(self) -> bool:
        return self.query.does == "duckdb"

    def __str__(self) -> str:
        return self.title


def recipes() -> list[Recipe]:
    """All of the page, from top to bottom."""
    found = []
    for section in COOKBOOK.read_text(encoding="utf-8").split("\n### ")[1:]:
        query, shown = blocks(section)[:2]
        assert query.language == "sql", section
        header = next(line for line in shown.text.splitlines() if line.startswith("┃"))
        columns = [cell.strip() for cell in _CELL.split(header)[1:-1]]
        found.append(Recipe(section.splitlines()[0], query, columns))
    return found
