"""Superset on one machine, seen by people of each role in a browser."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser

from pipelines.dashboards.access import reconcile
from pipelines.dashboards.assets import read
from pipelines.dashboards.client import Superset
from pipelines.dashboards.embedded import INFRA
from pipelines.errors import LakehouseError
from pipelines.lake.publish import read_manifest
from pipelines.settings import Settings
from tests.dashboard_page import chromium, reading_as
from tests.embedded.conftest import REPOSITORY, Lakehouse
from tests.embedded.test_main_line import copied
from tests.stack.native.loopback import LOOPBACK, free_ports
from tests.stack.predictions import predict

ASSETS = read(INFRA / "assets")
PASSWORD = "only for tests"


@dataclass(frozen=True)
class Shown:
    """A lake, and the Superset that shows it."""

    lake: Lakehouse
    url: str
    admin: Superset
    store: int

    @property
    def password(self) -> str:
        return (self.lake.home / "dashboards" / "password").read_text()

    def dataset(self, name: str) -> int:
        (found,) = [
            each["id"]
            for each in self.admin.all("dataset", ["id", "uuid"])
            if str(each["uuid"]) == str(ASSETS.datasets[name].uuid)
        ]
        return int(found)


@pytest.fixture(scope="module")
def shown(demo: Lakehouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """With predictions, and people of each role: two manage a store, a third has none."""
    lake = copied(demo, tmp_path_factory.mktemp("superset"))
    predict(Settings(home=lake.home, _env_file=None), 0)
    lake.good("run")
    (port,) = free_ports(1)
    url = f"http://{LOOPBACK}:{port}"
    command = [sys.executable, "-m", "pipelines.cli", "--home", str(lake.home), "dashboards", "up",
               "--port", str(port)]  # fmt: skip
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = []
            for line in process.stdout:
                told.append(line)
                if "Ctrl-C" in line:
                    break
            assert told, "it has ended; its error stands above"
            assert "Ctrl-C" in told[-1], told
            password = (lake.home / "dashboards" / "password").read_text()
            assert any(password in line for line in told)
            admin = Superset(url, "admin", password)
            (most,) = lake.sql(
                "select store_id from marts.fct_sale group by 1 order by count(*) desc limit 1"
            )
            _people(admin, most["store_id"])
            yield Shown(lake, url, admin, most["store_id"])
        finally:
            process.terminate()


def _people(admin: Superset, store: int) -> None:
    roles = dict(ASSETS.roles)
    (ruled,) = roles["store_manager"].rows
    whose = {"of-one": [store], "in-sql": [store], "of-none": []}
    rows = [ruled.model_copy(update={"of": whose})]
    roles["store_manager"] = roles["store_manager"].model_copy(update={"rows": rows})
    reconcile(admin, ASSETS.model_copy(update={"roles": roles}))
    numbers = {each["name"]: each["id"] for each in admin.all("security/roles", ["id", "name"])}
    for user, of in {
        "of-one": ["store_manager"],
        "of-none": ["store_manager"],
        "in-sql": ["store_manager", "sql_lab"],
        "in-marketing": ["marketing"],
        "in-analysis": ["analyst"],
    }.items():
        admin.call("POST", "security/users/", json={
            "username": user, "first_name": user, "last_name": "Test", "active": True,
            "email": f"{user}@localhost.localdomain", "password": PASSWORD,
            "roles": [numbers[name] for name in of],
        })  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.mark.parametrize("name", ASSETS.dashboards)
def test_every_chart_shows_something(shown: Shown, browser: Browser, name: str) -> None:
    charts = sum(len(row.charts) for row in ASSETS.dashboards[name].rows)
    with reading_as(browser, shown.url, "admin", shown.password) as reader:
        reader.open(name.replace("_", "-"), charts)
        reader.keep(name)
        assert reader.failed() == []


def test_who_manages_a_store_sees_its_sales_and_no_others(shown: Shown, browser: Browser) -> None:
    """On the page: as a person reads it, and as the marts tell it."""
    charts = sum(len(row.charts) for row in ASSETS.dashboards["sales_overview"].rows)
    days = ASSETS.dashboards["sales_overview"].filters[0].days
    publication = read_manifest(shown.lake.home / "published")
    assert publication is not None
    today = publication.business_date
    of_days = f"""
        select '$' || format('{{:,.2f}}', sum(net_amount)::double) as revenue,
            format('{{:,}}', count(distinct order_id)) as orders
        from marts.fct_sale
        where sale_date >= date '{today}' - {days} and sale_date < date '{today}'
    """
    for user, password, whose in (
        ("admin", shown.password, ""),
        ("of-one", PASSWORD, f" and store_id = {shown.store}"),
    ):
        (told,) = shown.lake.sql(of_days + whose)
        with reading_as(browser, shown.url, user, password) as reader:
            reader.open("sales-overview", charts)
            reader.keep(f"sales_overview_{user}")
            assert told["revenue"] in reader.chart("Revenue").inner_text()
            assert told["orders"] in reader.chart("Orders").inner_text()


def revenue(superset: Superset, dataset: int) -> Any:
    told = {
        "datasource": {"id": dataset, "type": "table"},
        "queries": [{"columns": [], "metrics": ["revenue"]}],
    }
    (row,) = superset.call("POST", "chart/data", json=told)["result"][0]["data"]
    return row["revenue"]


def test_no_cache_shows_one_person_the_rows_of_another(shown: Shown) -> None:
    sales = shown.dataset("sales")
    (told,) = shown.lake.sql(
        f"""
        select sum(net_amount)::double as everywhere,
            sum(net_amount) filter (where store_id = {shown.store})::double as there
        from marts.fct_sale
        """
    )
    own = round(told["there"], 2)
    assert own != round(told["everywhere"], 2)
    people = {
        "of-one": own, "of-none": None, "in-marketing": round(told["everywhere"], 2),
        "in-sql": own,
    }  # fmt: skip
    assert round(revenue(shown.admin, sales), 2) == round(told["everywhere"], 2)
    for _ in range(2):
        for user, expected in people.items():
            found = revenue(Superset(shown.url, user, PASSWORD), sales)
            assert (None if found is None else round(found, 2)) == expected, user


def in_sql(shown: Shown, user: str, sql: str) -> Any:
    (database,) = shown.admin.all("database", ["id", "database_name"])
    told = {"database_id": database["id"], "sql": sql, "schema": "marts", "runAsync": False}
    return Superset(shown.url, user, PASSWORD).call("POST", "sqllab/execute/", json=told)["data"]


def test_sql_by_hand_is_bound_by_the_same_rules(shown: Shown) -> None:
    count = "select count(*) as n from marts.fct_sale"
    (told,) = shown.lake.sql(count)
    assert in_sql(shown, "in-analysis", count) == [told]
    # Sales are read by a query over them: nobody but analysts has the table itself.
    with pytest.raises(
        LakehouseError, match=r"You need access to the following tables: `marts\.fct"
    ):
        in_sql(shown, "in-sql", count)
    for user in ("of-one", "in-marketing"):
        with pytest.raises(LakehouseError, match="403"):
            in_sql(shown, user, count)


def test_what_was_changed_by_hand_is_told(shown: Shown) -> None:
    """The rule is of people whom the code does not know; a chart has another title for a while."""

    def diff() -> Any:
        told = {"LAKEHOUSE_SUPERSET_URL": shown.url, "LAKEHOUSE_SUPERSET_PASSWORD": shown.password}
        return shown.lake("dashboards", "diff", "--json", env=told)

    done = diff()
    assert done.returncode == 1, done.stderr
    assert [(each["kind"], each["what"]) for each in json.loads(done.stdout)] == [
        ("rule of rows", "clause")
    ]
    (chart,) = [
        each["id"]
        for each in shown.admin.all("chart", ["id", "slice_name"])
        if each["slice_name"] == "Revenue by day"
    ]
    shown.admin.call("PUT", f"chart/{chart}", json={"slice_name": "Per day"})
    try:
        (found, _) = json.loads(diff().stdout)
    finally:
        shown.admin.call("PUT", f"chart/{chart}", json={"slice_name": "Revenue by day"})
    assert (found["title"], found["what"], found["there"]) == ("Revenue by day", "title", "Per day")


def test_who_may_not_see_clients_is_refused_their_data(shown: Shown) -> None:
    allowed = ASSETS.granted_to("marketing")
    assert allowed
    others = sorted(set(ASSETS.datasets) - allowed)
    marketing = Superset(shown.url, "in-marketing", PASSWORD)
    for name in others:
        told = {
            "datasource": {"id": shown.dataset(name), "type": "table"},
            "queries": [{"columns": [], "metrics": ASSETS.datasets[name].metrics[:1]}],
        }
        with pytest.raises(LakehouseError, match="403"):
            marketing.call("POST", "chart/data", json=told)
    seen = {
        each["dashboard_title"] for each in marketing.all("dashboard", ["id", "dashboard_title"])
    }
    titles = {ASSETS.dashboards[each].title for each in ASSETS.roles["marketing"].dashboards}
    assert titles <= seen
