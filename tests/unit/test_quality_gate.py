"""A gate on a small table: what is found, and what cannot be checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from pipelines.errors import Unavailable
from pipelines.quality.gate import Inspector
from pipelines.quality.promises import Model
from pipelines.quality.rules import NO_ROWS, QUERY, Rule
from pipelines.quality.suites import Suite
from pipelines.quality.warehouse import warehouse
from pipelines.settings import Settings

KEY = ("id",)
RULES = {
    "filled": Rule("filled", "expect_column_values_to_not_be_null", {"column": "n"}, "block", "f"),
    "once": Rule("once", "expect_column_values_to_be_unique", {"column": "id"}, "block", "f"),
    "small": Rule("small", NO_ROWS, {QUERY: "select * from {batch} where n > 5"}, "warn", "f"),
    "mean": Rule("mean", "expect_column_mean_to_be_between",
                 {"column": "n", "max_value": 1}, "warn", "f"),
    "few": Rule("few", NO_ROWS,
                {QUERY: "select count(*) as counted from {batch} having count(*) > 3"},
                "warn", "f"),
}  # fmt: skip
SUITE = Suite(Model("staging", "staging", "stg_thing", KEY, ()), tuple(RULES.values()))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, _env_file=None)


@pytest.fixture
def inspector(settings: Settings) -> Iterator[Inspector]:
    found = Inspector(warehouse(settings))
    yield found
    found.close()


def make_table(settings: Settings, *rows: str) -> None:
    with duckdb.connect(str(settings.warehouse)) as work:
        work.execute("create schema staging")
        work.execute("create table staging.stg_thing (id bigint, n integer)")
        work.execute(f"insert into staging.stg_thing values {', '.join(rows)}")


def test_rows_that_break_a_rule_are_told_with_their_keys(
    settings: Settings, inspector: Inspector
) -> None:
    make_table(settings, "(1, 1)", "(2, null)", "(3, 9)", "(3, 1)")
    report = inspector.check("staging", [SUITE])
    found = {result.rule.name: result for result in report.results}
    assert {name: result.success for name, result in found.items()} == dict.fromkeys(RULES, False)
    assert found["filled"].rows == [{"id": 2, "n": None}]
    assert (found["filled"].checked, found["filled"].failed) == (4, 1)
    assert [row["id"] for row in found["once"].rows] == [3, 3]
    assert found["small"].rows == [{"id": 3, "n": 9}]
    # What is found of a whole table is no row of it.
    assert (found["mean"].failed, found["mean"].rows) == (None, [])
    assert found["few"].observed == '[{"counted": 4}]'
    assert {result.rule.name for result in report.blocking} == {"filled", "once"}
    # Others may write to the file once it is closed.
    inspector.close()
    with duckdb.connect(str(settings.warehouse)) as work:
        work.execute("delete from staging.stg_thing where id > 1")
    assert inspector.check("marts", [SUITE]).results == []


def test_a_table_that_holds_what_it_promises_passes(
    settings: Settings, inspector: Inspector
) -> None:
    make_table(settings, "(1, 1)", "(2, 0)")
    report = inspector.check("staging", [SUITE])
    assert all(result.success for result in report.results)
    assert all(result.rows == [] for result in report.results)


def test_a_gate_that_reaches_nothing_says_so(inspector: Inspector) -> None:
    with pytest.raises(Unavailable, match="the gate on staging does not reach"):
        inspector.check("staging", [SUITE])
