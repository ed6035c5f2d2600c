"""A project that was tried and rejected leaves nothing behind in the tables of its successor."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import pytest

from tests.embedded.conftest import Lakehouse
from tests.stack.bare_project import carriers_project

MODEL = """
{{{{ config(materialized='incremental') }}}}
select transporter_id, '{told}' as told from {{{{ ref('stg_transporter') }}}}
{{% if is_incremental() %}}
where transporter_id not in (select transporter_id from {{{{ this }}}})
{{% endif %}}
"""


class Shop:
    """A lake of carriers, and the project that builds it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project = carriers_project(folder)
        monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(self.project))
        self.lake = Lakehouse(folder / "lake")
        date = self.project / "models" / "intermediate" / "int_business_date.sql"
        date.parent.mkdir()
        date.write_text("select date '2017-01-05' as business_date")
        self.lake.good("shop", "capture", "--to", str(self.lake.home / "inbox"), "--clients", "3",
                       "--until", "2017-01-05")  # fmt: skip

    def tells(self, told: str) -> None:
        model = self.project / "models" / "marts" / "mart_carriers.sql"
        model.parent.mkdir(exist_ok=True)
        model.write_text(MODEL.format(told=told))

    def rejects(self, told: str) -> None:
        (self.project / "tests" / "told.sql").write_text(
            f"select * from {{{{ ref('mart_carriers') }}}} where told = '{told}'"
        )

    def shown(self) -> set[str]:
        return {row["told"] for row in self.lake.sql("select told from marts.mart_carriers")}

    def built(self) -> set[str]:
        sql = "select told from marts.mart_carriers"
        with duckdb.connect(str(self.lake.home / "warehouse.duckdb"), read_only=True) as work:
            return {told for (told,) in work.execute(sql).fetchall()}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    assert "LAKEHOUSE_PROJECT_DIR" not in os.environ
    return Shop(tmp_path, monkeypatch)


def test_who_takes_a_rejected_change_back_builds_on_none_of_its_rows(shop: Shop) -> None:
    shop.tells("right")
    shop.rejects("wrong")
    shop.lake.good("run")
    shop.tells("wrong")
    assert shop.lake("run").returncode == 1
    assert (shop.shown(), shop.built()) == ({"right"}, {"wrong"})
    shop.tells("right")
    shop.lake.good("run")
    assert (shop.shown(), shop.built()) == ({"right"}, {"right"})
    assert "nothing new" in shop.lake("run").stderr


def test_who_mends_a_first_build_that_failed_builds_on_none_of_its_rows(shop: Shop) -> None:
    shop.tells("wrong")
    shop.rejects("wrong")
    assert shop.lake("run").returncode == 1
    shop.tells("right")
    shop.lake.good("run")
    assert shop.shown() == {"right"}
