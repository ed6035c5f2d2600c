"""What a change of the models would do to readers, tried beside: `lakehouse preview`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import pytest

from tests.embedded.conftest import REPOSITORY, Lakehouse


def files(folder: Path) -> dict[str, bytes]:
    """What lies there, but for the marks of who has the lake."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and not file.name.startswith("run.")
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working copy of the models."""
    copy = tmp_path_factory.mktemp("working copy") / "dbt_project"
    ignored = shutil.ignore_patterns("target", "logs")
    shutil.copytree(REPOSITORY / "dbt_project", copy, ignore=ignored)
    return copy


def test_what_was_changed_is_built_beside_and_compared_with_what_readers_see(
    demo: Lakehouse, project: Path
) -> None:
    told = {"LAKEHOUSE_PROJECT_DIR": str(project)}
    unchanged = demo("preview", env=told)
    assert unchanged.returncode == 0, unchanged.stderr
    assert "no model differs from those of publication" in unchanged.stdout
    assert not (project / "target" / "preview" / "warehouse.duckdb").exists()

    sales = project / "models" / "marts" / "sales"
    weekly = sales / "mart_sales_weekly.sql"
    text = weekly.read_text()
    text = text.replace("cast(sum(net_amount) as", "cast(sum(net_amount) + 1 as")
    text = text.replace(
        "store_id\n\n)", "store_id\n    having week_start_date <> '2017-01-09'\n\n)"
    )
    weekly.write_text(text)
    (sales / "mart_busy_stores.sql").write_text(
        "select store_id, sum(order_count) as order_count from {{ ref('mart_sales_weekly') }} "
        "group by store_id"
    )
    for file in ("mart_sales_monthly.sql", "mart_sales_monthly.yml"):
        (sales / file).unlink()
    before = files(demo.home)
    failed = demo("preview", env=told)
    assert failed.returncode == 1
    assert "unit_test a_week_runs_over_the_end_of_the_year" in failed.stderr
    assert "the published marts stay as they were" in failed.stderr

    (project / "tests" / "mart_sales_weekly_equals_daily.sql").unlink()
    promised = sales / "mart_sales_weekly.yml"
    promised.write_text(promised.read_text().partition("\nunit_tests:")[0] + "\n")
    done = demo("preview", "--json", "--examples", "1", env=told)
    assert done.returncode == 0, done.stderr
    assert files(demo.home) == before
    found = json.loads(done.stdout)
    assert found["models"] == ["mart_sales_weekly", "mart_busy_stores"]
    tables = {table["table"]: table for table in found["tables"]}

    ((rows, removed, stores),) = [
        row.values()
        for row in demo.sql(
            "select count(*) as n, count(*) filter (week_start_date = '2017-01-09') as removed, "
            "count(distinct store_id) filter (week_start_date <> '2017-01-09') as stores "
            "from marts.mart_sales_weekly"
        )
    ]
    assert removed > 0
    changed = tables["marts.mart_sales_weekly"]
    assert changed["key"] == ["week_start_date", "product_id", "store_id"]
    assert (changed["rows_before"], changed["rows_after"]) == (rows, rows - removed)
    assert (changed["added"], changed["removed"]) == (0, removed)
    assert changed["changed"] == rows - removed
    assert changed["columns"] == {"net_amount": rows - removed}
    gone, other = changed["examples"]
    assert (gone["kind"], gone["key"]["week_start_date"]) == ("removed", "2017-01-09")
    assert other["kind"] == "changed"
    assert list(other["values"]) == ["net_amount"]
    old, new = other["values"]["net_amount"]
    assert float(new) == pytest.approx(float(old) + 1)

    new_table = tables["marts.mart_busy_stores"]
    assert (new_table["state"], new_table["rows_before"]) == ("new", None)
    assert new_table["added"] == new_table["rows_after"] == stores
    dropped = tables["marts.mart_sales_monthly"]
    assert (dropped["state"], dropped["rows_after"]) == ("gone", None)
    assert dropped["removed"] == dropped["rows_before"] > 0
    assert set(tables) == {
        "marts.mart_sales_weekly", "marts.mart_busy_stores", "marts.mart_sales_monthly",
    }  # fmt: skip

    # Who built it can look at it, with what was not built now as the last run left it.
    beside = Lakehouse(Path(found["home"]))
    (counted,) = beside.sql("select count(*) as n from staging.stg_sale")
    assert [counted] == demo.sql("select count(*) as n from staging.stg_sale")

    weekly.write_text("select * from {{ ref('no_such_model') }}")
    broken = demo("preview", env=told)
    assert broken.returncode == 1
    assert "no_such_model" in broken.stderr
    assert files(demo.home) == before


def test_with_a_profile_of_ones_own_what_is_built_goes_to_a_file_of_ones_own(
    demo: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_OWN", str(tmp_path))
    before = files(demo.home)
    done = demo.dbt(
        "build", "--select", "base_transporter", "--profiles-dir", "../docs/examples",
        "--target-path", str(tmp_path / "target"), "--log-path", str(tmp_path / "logs"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert files(demo.home) == before
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as own:
        ((built,),) = own.execute("select count(*) from staging.base_transporter").fetchall()
    (told,) = demo.sql("select count(*) as n from staging.base_transporter")
    assert built == told["n"] > 0
