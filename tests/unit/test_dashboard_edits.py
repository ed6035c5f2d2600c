"""What somebody has edited on a server: told against the code, and written back into it."""

from __future__ import annotations

import io
import shutil
import zipfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from pipelines.dashboards.access import changed_by_hand
from pipelines.dashboards.assets import Assets, read
from pipelines.dashboards.bundle import packed
from pipelines.dashboards.client import Superset
from pipelines.dashboards.deploy import deploy
from pipelines.dashboards.differences import differences
from pipelines.dashboards.take_over import take_over
from tests.unit.test_dashboards import FOLDER, Server, dbt, made

__all__ = ["dbt", "made"]
Files = dict[str, dict[str, Any]]
NEW = "7b0d1c2e-0000-4000-8000-000000000000"
DAYS = "charts/revenue_by_day.yaml"
SALES = "datasets/Lakehouse/sales.yaml"
OVERVIEW = "dashboards/sales_overview.yaml"


@pytest.fixture
def ours(made: tuple[Assets, Files]) -> Files:
    return made[1]


@pytest.fixture
def theirs(ours: Files) -> Files:
    """As Superset exports them: names of files are its own, what it says of charts beside ours."""
    found = {path.replace(".yaml", "_1.yaml"): deepcopy(file) for path, file in ours.items()}
    for path, file in found.items():
        if path.startswith("charts/"):
            file["params"] |= {"slice_id": 7, "datasource": "1__table", "extra_form_data": {}}
    return found


def of(theirs: Files, path: str) -> dict[str, Any]:
    return theirs[path.replace(".yaml", "_1.yaml")]


def with_a_new_chart(theirs: Files, dataset: str) -> None:
    chart = {
        "slice_name": "Orders by store", "viz_type": "pie", "description": None, "uuid": NEW,
        "dataset_uuid": dataset, "params": {"metric": "orders", "groupby": ["store"]},
    }  # fmt: skip
    theirs["charts/Orders_by_store_9.yaml"] = chart
    position = of(theirs, OVERVIEW)["position"]
    position["CHART-2-1"]["meta"]["width"] = 8
    position["ROW-2"]["children"].append("CHART-new")
    meta = {"uuid": NEW, "width": 4, "height": 40}
    position["CHART-new"] = {"type": "CHART", "children": [], "meta": meta}


def test_what_was_just_deployed_is_no_edit(ours: Files, theirs: Files) -> None:
    assert differences(ours, theirs) == []


def test_each_edit_is_told(ours: Files, theirs: Files) -> None:
    of(theirs, DAYS)["slice_name"] = "Per day"
    of(theirs, DAYS)["params"] |= {"row_limit": 500, "zoomable": True}
    del of(theirs, DAYS)["params"]["rich_tooltip"]
    (revenue,) = [m for m in of(theirs, SALES)["metrics"] if m["metric_name"] == "revenue"]
    revenue["expression"] = "sum(1)"
    del theirs["charts/orders_1.yaml"]
    with_a_new_chart(theirs, ours[SALES]["uuid"])
    found = differences(ours, theirs)
    told = {(each.kind, each.title, each.what): (each.here, each.there) for each in found}
    rows = told.pop(("dashboard", "Sales overview", "rows"))
    assert [len(side[1]["charts"]) for side in rows] == [1, 2]
    assert told == {
        ("dataset", "sales", "metrics.revenue"): ("sum(net_amount)", "sum(1)"),
        ("chart", "Orders", ""): ("Orders", None),
        ("chart", "Orders by store", ""): (None, "Orders by store"),
        ("chart", "Revenue by day", "parameters.rich_tooltip"): (True, None),
        ("chart", "Revenue by day", "parameters.row_limit"): (10000, 500),
        ("chart", "Revenue by day", "parameters.zoomable"): (None, True),
        ("chart", "Revenue by day", "title"): ("Revenue by day", "Per day"),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "assets"))


def test_edits_are_written_into_the_files_and_nothing_else_is(
    made: tuple[Assets, Files], ours: Files, theirs: Files, folder: Path
) -> None:
    of(theirs, DAYS)["params"] |= {"row_limit": 500}
    (department,) = [c for c in of(theirs, SALES)["columns"] if c["column_name"] == "department"]
    department["verbose_name"] = "Dept"
    of(theirs, SALES)["sql"] += "where true\n"
    with_a_new_chart(theirs, ours[SALES]["uuid"])
    (revenue,) = [m for m in of(theirs, SALES)["metrics"] if m["metric_name"] == "revenue"]
    revenue["expression"] = "sum(1)"
    before = {p: p.read_text().splitlines() for p in folder.rglob("*.yaml")}
    found = differences(ours, theirs)
    taken = take_over(folder, made[0], found, theirs, check=read)
    assert [str(file) for file in taken.files] == [
        "charts/orders_by_store.yaml", DAYS, OVERVIEW, "datasets/sales.yaml",
    ]  # fmt: skip
    assert [each.what for each in taken.left] == ["metrics.revenue"]
    changed = {
        str(path.relative_to(folder)): set(path.read_text().splitlines()) - set(lines)
        for path, lines in before.items()
        if path.read_text().splitlines() != lines
    }
    # Where nothing was edited, not even a quote or a space is another.
    assert changed == {
        DAYS: {"  row_limit: 500"},
        OVERVIEW: {
            "      - {chart: revenue_by_day, width: 8}",
            "      - {chart: orders_by_store, width: 4}",
        },
        "datasets/sales.yaml": {"  department: Dept", "  where true"},
    }
    assets = read(folder)
    assert assets.charts["orders_by_store"].parameters == {"metric": "orders", "groupby": ["store"]}


def test_an_edit_that_the_checks_refuse_changes_no_file(
    made: tuple[Assets, Files], ours: Files, theirs: Files, folder: Path
) -> None:
    of(theirs, DAYS)["params"]["metrics"] = ["made_by_hand"]
    of(theirs, DAYS)["slice_name"] = "Per day"
    before = {path: path.read_bytes() for path in folder.rglob("*.yaml")}
    with pytest.raises(Exception, match="has no metric made_by_hand"):
        take_over(folder, made[0], differences(ours, theirs), theirs, check=read)
    assert {path: path.read_bytes() for path in folder.rglob("*.yaml")} == before


def test_what_the_files_cannot_tell_is_left(
    made: tuple[Assets, Files], ours: Files, theirs: Files, folder: Path
) -> None:
    with_a_new_chart(theirs, "of somebody's own dataset")
    fan = of(theirs, "charts/forecast_fan.yaml")
    fan["params"]["metrics"] = fan["params"]["metrics"][:1]
    tabs = of(theirs, "dashboards/clients.yaml")["position"]
    tabs["GRID_ID"]["children"].append("TABS-1")
    tabs["TABS-1"] = {"type": "TABS", "children": [], "meta": {}}
    filters = of(theirs, OVERVIEW)["metadata"]["native_filter_configuration"]
    filters.pop()
    taken = take_over(folder, made[0], differences(ours, theirs), theirs, check=read)
    assert taken.files == []
    assert {(each.title, each.what) for each in taken.left} == {
        ("Orders by store", ""), ("Sales overview", "rows"), ("Clients", "rows"),
        ("Sales overview", "filters.Store"), (fan["slice_name"], "parameters.metrics"),
    }  # fmt: skip


def test_roles_and_rules_that_were_changed_by_hand_are_told() -> None:
    assets = read(FOLDER)
    server: Any = Server(assets)
    deploy(server, assets, {}, prune=False)
    assert changed_by_hand(server, assets) == []
    roles = {each["name"]: each["id"] for each in server.there["security/roles"]}
    server.permissions[roles["marketing"]].append(99)
    server.there["security/roles"] = [
        each for each in server.there["security/roles"] if each["name"] != "analyst"
    ]
    (rule,) = server.there["rowlevelsecurity"]
    rule["clause"] = "1 = 1"
    told = {(each.kind, each.title, each.what) for each in changed_by_hand(server, assets)}
    assert told == {
        ("role", "analyst", ""),
        ("role", "marketing", "permissions of one side only"),
        ("rule of rows", "store_manager: store_id", "clause"),
    }
    server.there["rowlevelsecurity"].clear()
    told = {(each.kind, each.title, each.what) for each in changed_by_hand(server, assets)}
    assert ("rule of rows", "store_manager: store_id", "") in told


def test_what_a_server_holds_is_read_of_its_export(
    ours: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = requests.Response()
    answer.status_code = 200
    monkeypatch.setattr(Superset, "__init__", lambda *_: None)
    monkeypatch.setattr(Superset, "_answer", lambda *_: answer)
    content = packed(ours)
    answer._content = content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert len(archive.namelist()) == len(ours)
    assert Superset("", "", "").held() == yaml.safe_load(yaml.safe_dump(ours))
