"""The query cookbook, executed as it stands in the docs."""

from __future__ import annotations

import re
from dataclasses import dataclass

import duckdb
import pytest
import sqlglot

from tests.embedded.conftest import REPOSITORY, Lakehouse
from tests.embedded.predicted import PREDICTED
from tests.markdown_blocks import Block, blocks

COOKBOOK = REPOSITORY / "docs" / "cookbook.md"
_CELL = re.compile(r"[┃│]")


@dataclass(frozen=True)
class Recipe:
    """A query, and the columns that the page shows of its answer."""

    title: str
    query: Block
    columns: list[str]

    def __str__(self) -> str:
        return self.title


def recipes() -> list[Recipe]:
    found = []
    for section in COOKBOOK.read_text(encoding="utf-8").split("\n### ")[1:]:
        query, shown = blocks(section)[:2]
        assert query.language == "sql", section
        header = next(line for line in shown.text.splitlines() if line.startswith("┃"))
        columns = [cell.strip() for cell in _CELL.split(header)[1:-1]]
        found.append(Recipe(section.splitlines()[0], query, columns))
    return found


@pytest.fixture(scope="module")
def lake(demo: Lakehouse) -> duckdb.DuckDBPyConnection:
    """What an analyst reads by DuckDB alone; predictions are made up, for nothing was scored."""
    scope: dict[str, object] = {"__name__": "duckdb_views"}
    file = REPOSITORY / "docs" / "examples" / "duckdb_views.py"
    exec(compile(file.read_text(), file, "exec"), scope)  # noqa: S102  As a reader runs it.
    connect = scope["connect"]
    assert callable(connect)
    connection = connect(demo.home)
    assert isinstance(connection, duckdb.DuckDBPyConnection)
    for table in ("mart_forecast_accuracy", "mart_churn_client"):
        connection.execute(
            f"create table made as from predictions.{table} limit 0; "
            f"drop view predictions.{table}; "
            f"create table predictions.{table} as from made; drop table made"
        )
    connection.execute(PREDICTED)
    return connection


@pytest.mark.parametrize("recipe", recipes(), ids=str)
def test_a_query_of_the_cookbook_answers_with_the_columns_that_are_shown(
    recipe: Recipe, lake: duckdb.DuckDBPyConnection, demo: Lakehouse
) -> None:
    query = recipe.query.text.replace("'lake/published", f"'{demo.home}/published")
    answer = lake.execute(query)
    assert [column[0] for column in answer.description or []] == recipe.columns
    assert answer.fetchall()


@pytest.mark.parametrize(
    "recipe", [each for each in recipes() if each.query.does != "duckdb"], ids=str
)
def test_a_query_means_to_trino_what_it_means_to_duckdb(recipe: Recipe) -> None:
    of_duckdb = sqlglot.parse_one(recipe.query.text, dialect="duckdb")
    of_trino = sqlglot.parse_one(recipe.query.text, dialect="trino")
    assert of_duckdb.sql("trino") == of_trino.sql("trino")


def test_there_are_a_dozen_and_the_command_line_takes_them(demo: Lakehouse) -> None:
    found = recipes()
    assert len(found) >= 12
    assert demo.sql(found[0].query.text)
