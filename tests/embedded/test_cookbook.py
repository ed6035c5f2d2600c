"""The query cookbook, executed as it stands in the docs."""

from __future__ import annotations

import re

import duckdb
import pytest
import sqlglot

from tests.cookbook import Recipe, recipes
from tests.embedded.conftest import REPOSITORY, Lakehouse
from tests.embedded.predicted import PREDICTED


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
    for table in re.findall(r"insert into predictions\.(\w+)", PREDICTED):
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
    "recipe", [each for each in recipes() if not each.is_for_duckdb_alone], ids=str
)
def test_a_query_means_to_trino_what_it_means_to_duckdb(recipe: Recipe) -> None:
    of_duckdb = sqlglot.parse_one(recipe.query.text, dialect="duckdb")
    of_trino = sqlglot.parse_one(recipe.query.text, dialect="trino")
    assert of_duckdb.sql("trino") == of_trino.sql("trino")


def test_there_are_a_dozen_and_the_command_line_takes_them(demo: Lakehouse) -> None:
    found = recipes()
    assert len(found) >= 12
    assert demo.sql(found[0].query.text)
