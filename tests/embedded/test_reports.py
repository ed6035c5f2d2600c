"""Reports of the demo's lake: each figure is what `lakehouse sql` gives for the query below it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.contract import load_contracts
from pipelines.lake.catalog import reader
from pipelines.settings import Settings
from tests.embedded.conftest import REPOSITORY, Lakehouse
from tests.report_page import assert_told_truly, read


@pytest.mark.parametrize(
    ("subject", "period", "figures"),
    [("sales", "week", 200), ("sales", "month", 200), ("inventory", "week", 80)],
)
def test_each_figure_is_what_sql_gives(
    subject: str, period: str, figures: int, demo: Lakehouse, tmp_path: Path
) -> None:
    out = tmp_path / "report.html"
    demo.good("report", subject, "--period", period, "--out", str(out))
    sections = read(out.read_text(encoding="utf-8"))
    settings = Settings(home=demo.home, _env_file=None)
    contracts = load_contracts(REPOSITORY / "dbt_project")
    every = " ".join(section.query for section in sections)
    with reader(settings, contracts, every, 0.0) as connection:
        told = assert_told_truly(
            sections, lambda query: connection.execute(query).to_arrow_table().to_pylist()
        )
    assert told > figures
    assert any("There are no forecasts" in said for each in sections for said in each.said)


def test_a_report_leaves_the_lake_as_it_is(demo: Lakehouse, tmp_path: Path) -> None:
    before = (demo.home / "published" / "manifest.json").read_bytes()
    demo.good("report", "sales", "--period", "day", "--out", str(tmp_path / "report.html"))
    assert (demo.home / "published" / "manifest.json").read_bytes() == before
    assert not (demo.home / "reports").exists()


def test_before_the_data_there_is_an_error_with_its_remedy(demo: Lakehouse) -> None:
    done = demo("report", "sales", "--until", "2015-06-30")
    assert done.returncode == 1
    assert "nothing was sold in week 26 of 2015" in done.stderr
    assert "remedy: name another day by --until" in done.stderr
