"""A gate on a small table: what is found, and what cannot be checked."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.errors import LakehouseError, Unavailable
from pipelines.quality.gate import Inspector
from pipelines.quality.inspection import Inspection
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


def test_a_gate_whose_warehouse_goes_away_blames_no_rule(
    settings: Settings, inspector: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_table(settings, "(1, 1)")
    broken = Rule("odd", NO_ROWS, {QUERY: "select error('gone') from {batch}"}, "block", "f")
    suite = Suite(SUITE.model, (broken,))
    with pytest.raises(LakehouseError, match=r"'odd' of staging\.stg_thing cannot be checked"):
        inspector.check("staging", [suite])
    asked: list[str] = []

    def unless_asked_for_a_sign_of_life(sql: str, most: int | None = None) -> list[dict[str, Any]]:
        asked.append(sql)
        if sql == "select 1":
            raise ConnectionError("refused")
        return ask(sql, most)

    ask = inspector._query
    monkeypatch.setattr(inspector, "_query", unless_asked_for_a_sign_of_life)
    with pytest.raises(Unavailable, match="does not reach what it is to check: refused"):
        inspector.check("staging", [suite])
    assert asked[-1] == "select 1"
    monkeypatch.undo()
    # Once it is back, the same gate can be tried again.
    assert inspector.check("staging", [SUITE]).blocking == []


def test_the_inspector_works_in_a_process_of_its_own(
    settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make_table(settings, "(1, 1)", "(1, 2)")
    inspection = Inspection(settings)
    report = inspection.check("staging", [SUITE])
    assert [result.rule.name for result in report.blocking] == ["once"]
    # It lets go of the file between two checks.
    with duckdb.connect(str(settings.warehouse)) as work:
        work.execute("update staging.stg_thing set id = n")
    assert inspection.check("staging", [SUITE]).blocking == []
    inspection.write_docs(tmp_path / "docs")
    inspection.close()
    assert inspection._process.returncode == 0
    assert "Error" not in capfd.readouterr().err
    assert (tmp_path / "docs" / "index.html").exists()


def test_a_process_that_ends_before_it_answers_is_worth_another_try(settings: Settings) -> None:
    make_table(settings, "(1, 1)")
    inspection = Inspection(settings)
    inspection._process.kill()
    with pytest.raises(Unavailable, match="has ended, with exit code -9"):
        inspection.check("staging", [SUITE])
    inspection.close()


def test_pages_that_cannot_be_written_are_told_at_the_end(
    settings: Settings, tmp_path: Path
) -> None:
    make_table(settings, "(1, 1)")
    inspection = Inspection(settings)
    inspection.check("staging", [SUITE])
    (tmp_path / "file").write_text("in the way")
    inspection.write_docs(tmp_path / "file" / "docs")
    with pytest.raises(OSError, match="file"):
        inspection.close()


def test_the_process_ends_with_the_one_that_asks(settings: Settings) -> None:
    code = (
        "import os, sys; from pathlib import Path; from pipelines.settings import Settings\n"
        "from pipelines.quality.inspection import Inspection\n"
        f"inspection = Inspection(Settings(home=Path({str(settings.home)!r}), _env_file=None))\n"
        "print(inspection._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert told.returncode == -9
    deadline = time.monotonic() + 30
    while _is_alive(told.stdout.strip()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _is_alive(process: str) -> bool:
    try:
        return "State:\tZ" not in Path("/proc", process, "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
