"""What the events of some days concern is made anew, whatever became of it; the rest is left."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.backfill import Days, mark
from pipelines.chain import publish_built
from pipelines.contract import load_contracts
from pipelines.lake.ids import new_id
from pipelines.lake.publish import PUBLICATION, Source, read_manifest
from pipelines.records import recorded
from pipelines.settings import Settings
from pipelines.transform import BuildReport
from tests.embedded.conftest import Lakehouse

START, UNTIL = "2017-02-13", "2017-03-20"
ARGUMENTS = ("backfill", "--from", START, "--until", UNTIL, "--json")

CHANGED_PRODUCTS = f"""(select product_id from staging.hist_product
    where _source_ts >= '{START} 00:00:00+00' and _source_ts < '{UNTIL} 00:00:00+00')"""

# Rows that follow from events of these days: changed, lost, or more than there should be.
SPOILS = {
    "marts.dim_client": [
        "update marts.dim_client set city = 'Nowhere' where client_id = 1832",
        "delete from marts.dim_client where client_id = 466",
    ],
    "marts.dim_product": [
        f"update marts.dim_product set valid_from = valid_from + interval 1 hour, list_price = 1 "
        f"where product_id in {CHANGED_PRODUCTS} and is_current",
        f"""insert into marts.dim_product
            select * replace (product_key || 'x' as product_key, false as is_current)
            from marts.dim_product where product_id in {CHANGED_PRODUCTS} limit 5""",
    ],
    "marts.dim_store": ["update marts.dim_store set last_order_date = '2017-03-01'"],
    "marts.fct_sale": [
        "update marts.fct_sale set net_amount = net_amount + 1 "
        "where sale_date between '2017-02-20' and '2017-02-22'",
        "delete from marts.fct_sale where sale_date = '2017-02-24'",
        """insert into marts.fct_sale select * replace (date '2017-08-02' as sale_date)
           from marts.fct_sale where sale_date = '2017-03-02'""",
    ],
    "marts.fct_order": [
        "update marts.fct_order set promised_date = promised_date + 9, net_amount = 0 "
        "where order_date between '2017-02-20' and '2017-02-27'",
        "delete from marts.fct_order where order_date = '2017-03-02'",
    ],
    "marts.fct_order_item": [
        "update marts.fct_order_item set quantity = quantity + 1 "
        "where order_date between '2017-02-20' and '2017-02-27'",
        """insert into marts.fct_order_item select * replace (line_no + 90 as line_no)
           from marts.fct_order_item where order_date = '2017-03-02'""",
    ],
    # A stock follows from all movements before it: also long after these days.
    "marts.fct_inventory_snapshot": [
        "update marts.fct_inventory_snapshot set on_hand = on_hand + 7 "
        "where warehouse_id = 1 and snapshot_date >= '2017-02-20'",
        "delete from marts.fct_inventory_snapshot "
        "where warehouse_id = 1 and snapshot_date between '2017-03-10' and '2017-04-01'",
    ],
    "marts.fct_promotion_week": [
        "delete from marts.fct_promotion_week where week_start_date = '2017-02-20'",
        """insert into marts.fct_promotion_week
           select * from marts.fct_promotion_week where week_start_date = '2017-02-27'""",
    ],
    "marts.fct_client_interaction": [
        "update marts.fct_client_interaction set interaction_kind = 'coupon', client_id = 1 "
        "where interaction_date = '2017-03-01'",
    ],
    "intermediate.int_client_day_sales": [
        "update intermediate.int_client_day_sales set net_amount = 0 "
        "where sale_date = '2017-02-22'",
    ],
    # On February 12 stood a sale that was deleted the day after.
    "marts.mart_sales_daily": [
        "update marts.mart_sales_daily set quantity = 99 where sale_date = '2017-02-12'",
        """insert into marts.mart_sales_daily select * replace (-1 as store_id)
           from marts.mart_sales_daily where sale_date = '2017-02-22'""",
    ],
    "marts.mart_sales_weekly": [
        "update marts.mart_sales_weekly set order_count = 0 where week_start_date = '2017-02-20'",
        """insert into marts.mart_sales_weekly select * replace (-1 as store_id)
           from marts.mart_sales_weekly where week_start_date = '2017-03-13'""",
    ],
    "marts.mart_sales_monthly": [
        "delete from marts.mart_sales_monthly where month_start_date = '2017-02-01'",
        "update marts.mart_sales_monthly set gross_amount = 0 "
        "where month_start_date = '2017-03-01'",
    ],
}  # fmt: skip

# Nothing on these days concerns these rows. No dbt test looks at them, so that the build is green.
SPOILED_FOR_GOOD = {
    "marts.fct_client_interaction": (
        "interaction_kind = 'coupon', client_id = 1",
        "interaction_date between '2017-03-20' and '2017-04-20'",
    ),
    "marts.fct_promotion_week": (
        "stores_on_display = stores_on_display + 1",
        "week_start_date = '2017-04-03'",
    ),
}


@contextmanager
def work_file(lakehouse: Lakehouse) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(lakehouse.home / "warehouse.duckdb")) as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield connection


def content(lakehouse: Lakehouse) -> dict[str, Counter[tuple[Any, ...]]]:
    """All rows of the tables behind staging, without the column that names a run."""
    found = {}
    with work_file(lakehouse) as connection:
        names = connection.execute(
            "select schema_name || '.' || table_name from duckdb_tables() "
            "where schema_name in ('marts', 'intermediate')"
        ).fetchall()
        for (name,) in names:
            rows = connection.execute(f"select columns(c -> c <> '_increment_id') from {name}")
            found[name] = Counter(rows.fetchall())
    return found


def hashes(lakehouse: Lakehouse) -> dict[str, str]:
    manifest = read_manifest(lakehouse.home / "published")
    assert manifest is not None
    return {n: t.content_hash for n, t in manifest.tables.items() if n != PUBLICATION}


def settings_of(lakehouse: Lakehouse) -> Settings:
    key = lakehouse.home.parent / ".lake-pii.key"
    return Settings(home=lakehouse.home, pii_key_file=key, _env_file=None)


@pytest.fixture
def spoiled(demo: Lakehouse, tmp_path: Path) -> Lakehouse:
    """The demo's lake with wrong rows in all incremental models, published as they are."""
    shutil.copytree(demo.home, tmp_path / "lake")
    shutil.copy(demo.home.parent / ".lake-pii.key", tmp_path)
    lakehouse = Lakehouse(tmp_path / "lake")
    with work_file(lakehouse) as connection:
        for statement in [s for spoils in SPOILS.values() for s in spoils]:
            ((count,),) = connection.execute(statement).fetchall()
            assert count > 0, statement
    green = json.loads((lakehouse.home / "state" / "last-green-build.json").read_text())
    sources = [Source(*source) for source in green["sources"]]
    with recorded(settings_of(lakehouse), "spoil") as recorder:
        publish_built(settings_of(lakehouse), BuildReport("spoiled", sources=sources), recorder)
    return lakehouse


def test_what_the_events_of_the_days_concern_is_made_anew_and_nothing_else(
    demo: Lakehouse, spoiled: Lakehouse
) -> None:
    left = {}
    with work_file(spoiled) as connection:
        for name, (change, where) in SPOILED_FOR_GOOD.items():
            connection.execute(f"update {name} set {change} where {where}")
            left[name] = Counter(connection.execute(f"from {name} where {where}").fetchall())
    whole, before = content(demo), content(spoiled)
    assert {name for name in whole if before[name] != whole[name]} == set(SPOILS)

    report = json.loads(spoiled.good(*ARGUMENTS))
    after = content(spoiled)
    for name, rows in whole.items():
        assert after[name] - rows == left.get(name, Counter()), name
        assert (rows - after[name]).total() == left.get(name, Counter()).total(), name
    assert all(left.values())
    changed = {table["table"] for table in report["tables"] if table["has_changed"]}
    # It stands on promotions, also on those that stay wrong.
    marts = {name for name in SPOILS if name.startswith("marts.")}
    assert changed == marts | {"features.feat_product_day"}
    (orders,) = [table for table in report["marked"] if table["table"] == "shop.public.order"]
    assert orders["events"] > orders["keys"] > 10

    again = json.loads(spoiled.good(*ARGUMENTS))
    assert again["marked"] == report["marked"]
    assert not any(table["has_changed"] for table in again["tables"])
    assert {t["table"]: t["hash_after"] for t in report["tables"]} == hashes(spoiled)
    with work_file(spoiled) as connection:
        assert connection.execute("from state.increment").fetchall() == []


def test_a_backfill_cut_off_before_its_build_is_finished_by_the_next_run(
    demo: Lakehouse, spoiled: Lakehouse
) -> None:
    settings = settings_of(spoiled)
    tables = load_contracts(settings.project_dir).tables
    days = Days(date.fromisoformat(START), date.fromisoformat(UNTIL))
    assert mark(settings, tables, days, new_id())
    assert hashes(spoiled) != hashes(demo)
    assert json.loads(spoiled.good("run", "--json"))["built"]
    assert content(spoiled) == content(demo)
    assert hashes(spoiled) == hashes(demo)
    assert not json.loads(spoiled.good("run", "--json"))["built"]


def test_days_without_events_change_nothing(demo: Lakehouse, tmp_path: Path) -> None:
    shutil.copytree(demo.home, tmp_path / "lake")
    demo = Lakehouse(tmp_path / "lake")
    green = demo.home / "state" / "last-green-build.json"
    before, stamp = hashes(demo), green.stat().st_mtime_ns
    told = demo.good("backfill", "--from", "2031-01-01", "--until", "2031-02-01", "sale")
    assert "no staged event from 2031-01-01 until 2031-02-01" in told
    assert hashes(demo) == before
    assert green.stat().st_mtime_ns == stamp
    assert not (demo.home / "state" / "demanded-build").exists()
