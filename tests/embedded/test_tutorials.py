"""The tutorials from a mart to its chart, executed one after the other as they stand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from pipelines.dashboards.deploy import compiled
from pipelines.dashboards.published_views import database, write_views
from pipelines.dbt_project import Project
from pipelines.errors import LakehouseError
from pipelines.semantics import MANIFEST, Semantics
from pipelines.settings import Settings
from tests.embedded.conftest import REPOSITORY, Lakehouse
from tests.embedded.test_main_line import copied
from tests.markdown_blocks import Block, blocks

ASSETS = Path("infra") / "superset" / "assets"


@dataclass(frozen=True)
class Checkout:
    """A copy of what tutorials change, and a lake of the shop."""

    folder: Path
    lake: Lakehouse

    def follow(self, page: str, place: str) -> None:
        """Do what a page says, from top to bottom.

        Args:
            place: the folder that its file names are in.
        """
        printed = ""
        for block in blocks((REPOSITORY / "docs" / page).read_text(encoding="utf-8")):
            how, _, name = block.does.partition("=")
            if how in ("file", "append"):
                self._write(block, self.folder / place / name, is_new=how == "file")
            elif block.language == "bash" and block.does != "skip":
                printed = self._run(block.text)
            elif block.does == "columns":
                assert _columns(printed) == _columns(block.text), printed

    def _write(self, block: Block, file: Path, *, is_new: bool) -> None:
        assert file.exists() != is_new, file
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as handle:
            handle.write(block.text)

    def _run(self, script: str) -> str:
        programs = Path(sys.executable).parent
        for command, started in (
            ("../.venv/bin/dbt", f'"{programs / "dbt"}"'),
            ("../.venv/bin/mf", f'"{programs / "mf"}"'),
            (".venv/bin/lakehouse", f'"{sys.executable}" -m pipelines.cli'),
            ("$PWD/../lake", str(self.lake.home)),
        ):
            script = script.replace(command, started)
        done = subprocess.run(
            ["bash", "-euc", script],
            cwd=self.folder,
            capture_output=True,
            text=True,
            env=os.environ
            | {
                "LAKEHOUSE_PROJECT_DIR": str(self.folder / "dbt_project"),
                "LAKEHOUSE_HOME": str(self.lake.home),
                "PYTHONPATH": str(REPOSITORY),
                "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            },
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @property
    def settings(self) -> Settings:
        return Settings(
            home=self.lake.home, project_dir=self.folder / "dbt_project", _env_file=None
        )


def _columns(text: str) -> list[str]:
    """The names in the first header of a printed table."""
    lines = text.splitlines()
    header = next((line for line in lines if line.startswith("┃")), lines[0] if lines else "")
    return header.replace("┃", " ").split()


@pytest.fixture(scope="module")
def checkout(demo: Lakehouse, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    folder = tmp_path_factory.mktemp("tutorials")
    project = folder / "checkout" / "dbt_project"
    ignored = shutil.ignore_patterns("target", "logs")
    shutil.copytree(REPOSITORY / "dbt_project", project, ignore=ignored)
    # The profile finds the plugin of this repository beside the project.
    (project.parent / "pipelines").symlink_to(REPOSITORY / "pipelines")
    (project.parent / "expectations").symlink_to(REPOSITORY / "expectations")
    shutil.copytree(REPOSITORY / ASSETS, project.parent / ASSETS)
    return Checkout(project.parent, copied(demo, folder))


def test_a_mart_its_metric_and_a_chart_of_it_come_by_files_alone(checkout: Checkout) -> None:
    checkout.follow("tutorial-new-mart.md", "dbt_project")
    (told,) = checkout.lake.sql(
        "select "
        "(select sum(order_count)::bigint from marts.mart_carrier_month) as orders, "
        "(select sum(late_order_count)::bigint from marts.mart_carrier_month) as late, "
        "(select count(is_late) from marts.fct_order) as orders_by_hand, "
        "(select count(*) from marts.fct_order where is_late) as late_by_hand"
    )
    assert told["orders"] == told["orders_by_hand"]
    assert told["late"] == told["late_by_hand"] > 0

    checkout.follow("tutorial-new-metric.md", "dbt_project")
    settings = checkout.settings
    manifest = Project(settings).manifest
    semantics = Semantics.read(settings.state / "dbt" / MANIFEST)
    metrics = {each.name: each for each in semantics.metrics_of("marts.mart_carrier_month")}
    page = (REPOSITORY / "docs" / "tutorial-new-metric.md").read_text(encoding="utf-8")
    assert f"select {metrics['carrier_late_share'].expression} as carrier_late_share" in page
    write_views(settings)
    day = date(2017, 12, 31)
    folder = checkout.folder / ASSETS
    checkout.follow("tutorial-new-chart.md", str(ASSETS))
    assets, _ = compiled(folder, manifest, semantics, database(settings), day)
    (row,) = assets.dashboards["carriers"].rows
    assert [place.chart for place in row.charts] == ["late_share_by_month"]

    (folder / "charts" / "late_share_by_month.yaml").unlink()
    with pytest.raises(LakehouseError, match="there is no chart late_share_by_month"):
        compiled(folder, manifest, semantics, database(settings), day)
