"""Results are kept for good; the quarantine is the picture of now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from pipelines.quality import books
from pipelines.quality.gate import GateReport, Result
from pipelines.quality.gatekeeper import forget_rows
from pipelines.quality.rules import Rule
from pipelines.quality.suites import Gate
from pipelines.settings import Settings

RULE = Rule("sold", "unexpected_rows_expectation", {}, "block", "expectations/a.yml")


def report(gate: Gate, *ids: int) -> GateReport:
    rows = [{"sale_id": n, "quantity": -1} for n in ids]
    return GateReport(
        gate, [Result("staging.stg_sale", RULE, not ids, 9, len(ids), None, ("sale_id",), rows)]
    )


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return list(DeltaTable(str(folder / name)).to_pyarrow_table().to_pylist())


def held(folder: Path) -> list[tuple[str, str, int]]:
    return sorted(
        (row["target"], row["gate"], json.loads(row["key"])["sale_id"])
        for row in rows(folder, "quarantine")
    )


def test_each_gate_replaces_the_rows_that_it_held_and_no_others(tmp_path: Path) -> None:
    books.keep(tmp_path, report("staging", 1, 2), run_id="a", target="embedded")
    books.keep(tmp_path, report("marts", 7), run_id="a", target="embedded")
    books.keep(tmp_path, report("staging", 5), run_id="a", target="trino")
    books.keep(tmp_path, report("staging", 2), run_id="b", target="embedded")
    assert held(tmp_path) == [
        ("embedded", "marts", 7), ("embedded", "staging", 2), ("trino", "staging", 5)
    ]  # fmt: skip
    books.keep(tmp_path, report("staging"), run_id="c", target="embedded")
    assert held(tmp_path) == [("embedded", "marts", 7), ("trino", "staging", 5)]
    assert [row["failed_rows"] for row in rows(tmp_path, "results")].count(0) == 1
    assert len(rows(tmp_path, "results")) == 5
    last = {(row["target"], row["gate"]): row for row in books.last_checks(tmp_path)}
    assert last["embedded", "staging"]["run_id"] == "c"
    assert {key: row["blocking"] for key, row in last.items()} == {
        ("embedded", "staging"): 0, ("embedded", "marts"): 1, ("trino", "staging"): 1
    }  # fmt: skip


def test_every_row_is_forgotten_of_all_targets_and_so_are_the_pages(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "lake", _env_file=None)
    settings.home.mkdir()
    forget_rows(settings, "before there is any")
    books.keep(settings.quality, report("staging", 1), run_id="a", target="embedded")
    books.keep(settings.quality, report("staging", 5), run_id="a", target="trino")
    pages = settings.home / "data-docs-trino"
    pages.mkdir()
    forget_rows(settings, "b")
    assert held(settings.quality) == []
    assert not pages.exists()
    assert len(rows(settings.quality, "results")) == 2
