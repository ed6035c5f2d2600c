"""Dashboards as code: what is shipped stands on dbt's contracts, and what is wrong is named."""

from __future__ import annotations

import shutil
import socket
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from typer.testing import CliRunner

from pipelines import cli
from pipelines.contract import load_contracts
from pipelines.dashboards import embedded
from pipelines.dashboards.assets import Assets, read
from pipelines.dashboards.bundle import bundle, packed
from pipelines.dashboards.client import Superset
from pipelines.dashboards.deploy import deploy
from pipelines.dashboards.exposures import FILE, exposures
from pipelines.dashboards.models import Model, columns_of, metrics_of, models_of
from pipelines.dashboards.published_views import write_views
from pipelines.dbt_project import Project
from pipelines.errors import LakehouseError, Unavailable, UsageError
from pipelines.semantics import MANIFEST, Semantics
from pipelines.settings import Settings

FOLDER = embedded.INFRA / "assets"
TODAY = date(2018, 1, 2)
FILES = {"metadata.yaml": {"version": "1.0.0"}}


@pytest.fixture(scope="module")
def dbt(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Model], Semantics]:
    settings = Settings(_env_file=None, home=tmp_path_factory.mktemp("dashboards") / "lake")
    models = models_of(Project(settings).manifest)
    return models, Semantics.read(settings.state / "dbt" / MANIFEST)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "assets"))


def changed(folder: Path, asset: str, **more: Any) -> None:
    file = folder / f"{asset}.yaml"
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(content | more))


def test_what_is_shipped_stands_on_the_contracts(
    dbt: tuple[dict[str, Model], Semantics],
) -> None:
    models, semantics = dbt
    assets = read(FOLDER)
    columns, tables = columns_of(assets, models)
    assert tables["sales"] == {"marts.fct_sale", "marts.dim_product"}
    known = models["marts.fct_sale"].columns["net_amount"].description
    assert columns["sales"]["net_amount"].description == known
    told = {metric.name: metric for metric in metrics_of(assets, columns, semantics)["sales"]}
    assert told["revenue"].expression == "sum(net_amount)"
    assert {"orders", "basket_value"} <= set(told)


def without(models: Mapping[str, Model], table: str, column: str) -> dict[str, Model]:
    kept = {n: c for n, c in models[table].columns.items() if n != column}
    return dict(models) | {table: replace(models[table], columns=kept)}


@pytest.mark.parametrize(
    ("table", "column", "told"),
    [
        ("marts.dim_product", "department", r"datasets/sales.yaml: .*department"),
        ("marts.fct_sale", "net_amount", r"datasets/sales.yaml: .*net_amount"),
        (
            "predictions.ai_audit_log",
            "reason",
            r"charts/forecast_model_acts.yaml: the dataset model_acts has no column reason",
        ),
    ],
)
def test_a_column_that_dbt_drops_names_the_asset(
    dbt: tuple[dict[str, Model], Semantics], table: str, column: str, told: str
) -> None:
    with pytest.raises(LakehouseError, match=told):
        columns_of(read(FOLDER), without(dbt[0], table, column))


def test_a_model_that_is_not_published_and_a_metric_of_elsewhere_are_refused(
    dbt: tuple[dict[str, Model], Semantics], folder: Path
) -> None:
    models, semantics = dbt
    changed(folder, "datasets/cohorts", metrics=["cohort_retention", "revenue"])
    assets = read(folder)
    columns, _ = columns_of(assets, models)
    with pytest.raises(
        LakehouseError, match=r"no semantic model defines revenue on marts\.mart_co"
    ):
        metrics_of(assets, columns, semantics)
    changed(folder, "datasets/cohorts", model="staging.stg_sale")
    with pytest.raises(LakehouseError, match=r"dbt has no published model staging\.stg_sale"):
        columns_of(read(folder), models)


def test_a_query_that_leaves_out_what_a_metric_reads_is_refused(
    dbt: tuple[dict[str, Model], Semantics], folder: Path
) -> None:
    models, semantics = dbt
    content = yaml.safe_load((folder / "datasets/sales.yaml").read_text())
    changed(folder, "datasets/sales", sql=content["sql"].replace("    sale.gross_amount,\n", ""))
    assets = read(folder)
    columns, _ = columns_of(assets, models)
    with pytest.raises(LakehouseError, match="price_realisation reads gross_amount, which the qu"):
        metrics_of(assets, columns, semantics)


@pytest.mark.parametrize(
    ("asset", "more", "told"),
    [
        (
            "charts/orders",
            {"dataset": "nowhere"},
            "charts/orders.yaml: there is no dataset nowhere",
        ),
        ("charts/orders", {"parameters": {"metric": "x"}}, "the dataset sales has no metric x"),
        ("charts/orders", {"colour": "red"}, "charts/orders.yaml: colour: Extra inputs"),
        ("charts/orders", {"uuid": "1"}, "charts/orders.yaml: uuid: "),
        ("datasets/cohorts", {"metrics": None}, "datasets/cohorts.yaml: metrics: "),
        (
            "dashboards/sales_overview",
            {"rows": [{"height": 20, "charts": [{"chart": "orders", "width": 7}] * 2}]},
            "row 1 is 14 columns wide, a dashboard 12",
        ),
        (
            "dashboards/sales_overview",
            {"rows": [{"height": 20, "charts": [{"chart": "gone", "width": 7}]}]},
            "dashboards/sales_overview.yaml: there is no chart gone",
        ),
        ("roles/marketing", {"dashboards": ["gone"]}, "marketing.yaml: there is no dashboard gone"),
        ("roles/marketing", {"builds_on": ["Admin"]}, "roles/marketing.yaml: builds_on.0: "),
        (
            "roles/store_manager",
            {"all_rows": []},
            "store_manager.yaml: neither rows nor all_rows names the dataset cohorts",
        ),
        (
            "roles/store_manager",
            {"dashboards": []},
            "store_manager.yaml: none of its dashboards reads the dataset sales",
        ),
        (
            "roles/store_manager",
            {"builds_on": ["Alpha"]},
            "store_manager.yaml: who builds on Alpha reads every dataset",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_named(
    folder: Path, asset: str, more: dict[str, Any], told: str
) -> None:
    changed(folder, asset, **more)
    with pytest.raises(LakehouseError) as caught:
        read(folder)
    assert told in caught.value.cause


def test_a_role_whose_datasets_tell_too_much_or_cannot_tell_whose_is_refused(
    dbt: tuple[dict[str, Model], Semantics], folder: Path
) -> None:
    changed(folder, "roles/marketing", hides=["order_id"])
    own = ["product_change", "promoted_sales", "sales"]
    rows = [{"datasets": own, "column": "region", "of": {}}]
    changed(folder, "roles/store_manager", rows=rows)
    with pytest.raises(LakehouseError) as caught:
        columns_of(read(folder), dbt[0])
    for told in (
        "roles/marketing.yaml: the dataset sales has the column order_id, which the role hides",
        "roles/store_manager.yaml: the dataset sales has no column region",
    ):
        assert told in caught.value.cause


def test_dbt_knows_which_dashboard_reads_what(
    dbt: tuple[dict[str, Model], Semantics], tmp_path: Path
) -> None:
    """The file is made of the assets: `lakehouse dashboards exposures` writes it."""
    assets = read(FOLDER)
    _, tables = columns_of(assets, dbt[0])
    settings = Settings(_env_file=None, home=tmp_path / "lake")
    assert (settings.project_dir / FILE).read_text(encoding="utf-8") == exposures(assets, tables)
    told = {
        each.name: each.depends_on.nodes for each in Project(settings).manifest.exposures.values()
    }
    assert set(told) == set(assets.dashboards)
    assert "model.lakehouse.fct_sale" in told["sales_overview"]


def test_all_faults_are_told_at_once(folder: Path) -> None:
    (folder / "charts" / "orders.yaml").write_text("title: [")
    (folder / "charts" / "empty.yaml").write_text("")
    uuid = yaml.safe_load((folder / "datasets/sales.yaml").read_text())["uuid"]
    changed(folder, "datasets/cohorts", uuid=uuid)
    with pytest.raises(LakehouseError) as caught:
        read(folder)
    for told in (
        "charts/orders.yaml: is no YAML",
        "charts/empty.yaml: holds no names",
        "datasets/sales.yaml: has the uuid of datasets/cohorts.yaml",
    ):
        assert told in caught.value.cause


@pytest.fixture(scope="module")
def made(dbt: tuple[dict[str, Model], Semantics]) -> tuple[Assets, dict[str, dict[str, Any]]]:
    models, semantics = dbt
    assets = read(FOLDER)
    columns, _ = columns_of(assets, models)
    metrics = metrics_of(assets, columns, semantics)
    database = {"sqlalchemy_uri": "duckdb:///x"}
    return assets, bundle(assets, columns, models, metrics, database, TODAY)


def test_the_bundle_tells_superset_what_dbt_tells(
    made: tuple[Assets, dict[str, dict[str, Any]]],
) -> None:
    _, files = made
    sales = files["datasets/Lakehouse/sales.yaml"]
    (day,) = [each for each in sales["columns"] if each["column_name"] == "sale_date"]
    assert day["is_dttm"]
    assert day["description"]
    assert all(column["description"] for column in sales["columns"])
    (revenue,) = [each for each in sales["metrics"] if each["metric_name"] == "revenue"]
    assert (revenue["expression"], revenue["verbose_name"]) == ("sum(net_amount)", "Revenue")
    assert "sales-analytics" in revenue["extra"]
    assert files["datasets/Lakehouse/model_acts.yaml"]["table_name"] == "ai_audit_log"


def test_days_begin_with_those_before_the_business_date(
    made: tuple[Assets, dict[str, dict[str, Any]]],
) -> None:
    _, files = made
    filters = files["dashboards/sales_overview.yaml"]["metadata"]["native_filter_configuration"]
    assert filters[0]["defaultDataMask"]["filterState"]["value"] == "2017-10-03 : 2018-01-02"
    sales = files["datasets/Lakehouse/sales.yaml"]["uuid"]
    assert [each["targets"][0].get("datasetUuid") for each in filters] == [None, sales, sales]


def test_every_chart_has_its_place_in_the_grid(
    made: tuple[Assets, dict[str, dict[str, Any]]],
) -> None:
    assets, files = made
    for name, dashboard in assets.dashboards.items():
        tree = files[f"dashboards/{name}.yaml"]["position"]
        found = [each for each in tree.values() if isinstance(each, dict)]
        charts = [each for each in found if each["type"] == "CHART"]
        assert [each["meta"]["uuid"] for each in charts] == [
            str(assets.charts[place.chart].uuid) for row in dashboard.rows for place in row.charts
        ]
        for each in charts:
            assert each["id"] in tree[each["parents"][-1]]["children"]
    with zipfile.ZipFile(BytesIO(packed(files))) as archive:
        assert {name.removeprefix("bundle/") for name in archive.namelist()} == set(files)


def test_a_fan_is_named_as_superset_names_the_band_of_its_own_forecasts(
    made: tuple[Assets, dict[str, dict[str, Any]]],
) -> None:
    _, files = made
    metrics = files["charts/forecast_fan.yaml"]["params"]["metrics"]
    assert metrics[0] == "regular_demand"
    assert {each["label"]: each["sqlExpression"] for each in metrics[1:]} == {
        "Expected__yhat": "sum(mean)",
        "Expected__yhat_lower": "min(p10)",
        "Expected__yhat_upper": "max(p90)",
    }


def test_figures_stand_where_there_is_no_metric(
    made: tuple[Assets, dict[str, dict[str, Any]]],
) -> None:
    _, files = made
    late = files["charts/tables_late.yaml"]["params"]["metric"]
    assert (late["aggregate"], late["column"]["column_name"]) == ("SUM", "is_late")
    days, *others = files["charts/delivery_by_transporter.yaml"]["params"]["metrics"]
    assert (days["aggregate"], days["column"]["column_name"]) == ("AVG", "delivery_days")
    assert others == ["late_orders_share", "delivered_orders"]


def test_a_filter_by_the_greatest_shows_one_value_and_waits_for_it(
    made: tuple[Assets, dict[str, dict[str, Any]]],
) -> None:
    _, files = made
    filters = files["dashboards/clients.yaml"]["metadata"]["native_filter_configuration"]
    client, segment = filters
    assert (client["sortMetric"], client["requiredFirst"]) == ("client_value", True)
    assert client["controlValues"]["defaultToFirstItem"]
    assert not client["controlValues"]["multiSelect"]
    assert segment["controlValues"]["multiSelect"]


def test_a_filter_by_a_metric_that_is_not_there_is_refused(folder: Path) -> None:
    client = {"title": "C", "dataset": "client_card", "column": "client", "greatest_by": "x"}
    changed(folder, "dashboards/clients", filters=[client])
    with pytest.raises(LakehouseError, match="the dataset client_card has no metric x"):
        read(folder)


def test_the_freshness_that_is_allowed_is_that_of_the_contracts(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, home=tmp_path / "lake")
    allowed = {each.fresh_within for each in load_contracts(settings.project_dir).tables}
    assert allowed == {timedelta(hours=24)}
    sql = read(FOLDER).datasets["freshness"].sql or ""
    assert "24 as hours_allowed" in sql
    assert sql.count("> 24 * 60 then") == 2


def permission(number: int, action: str, on: str) -> dict[str, Any]:
    return {"id": number, "permission": {"name": action}, "view_menu": {"name": on}}


class Server:
    """What a Superset holds, as far as a deploy asks; it notes what is written."""

    def __init__(self, assets: Assets) -> None:
        self._assets = assets
        self.there: dict[str, list[dict[str, Any]]] = {
            "dashboard": [], "chart": [], "dataset": [], "rowlevelsecurity": [],
            "security/permissions-resources": [permission(1, "can_read", "Chart")],
            "security/roles": [
                {"id": number, "name": name}
                for number, name in enumerate(["Admin", "Alpha", "Gamma", "sql_lab"], 1)
            ],
        }  # fmt: skip
        self.permissions: dict[int, list[int]] = {1: [1], 2: [1], 3: [1], 4: []}
        self.loaded = b""
        self.deleted: list[tuple[str, int]] = []
        self.written: list[str] = []

    def load(self, content: bytes) -> None:
        self.loaded = content
        for number, (name, dataset) in enumerate(self._assets.datasets.items(), 10):
            if number not in [each["id"] for each in self.there["dataset"]]:
                self.there["dataset"].append(
                    {"id": number, "uuid": str(dataset.uuid), "table_name": name}
                )
                self.there["security/permissions-resources"].append(
                    permission(number, "datasource_access", f"[Lakehouse].[{name}](id:{number})")
                )

    def call(self, method: str, path: str, json: Any = None) -> Any:
        kind, _, rest = path.removesuffix("/").rpartition("/roles/")
        if kind and method == "GET":
            number = int(rest.removesuffix("/permissions"))
            return {"result": [{"id": each} for each in self.permissions[number]]}
        self.written.append(f"{method} {path}")
        if kind:
            number = int(rest.removesuffix("/permissions"))
            self.permissions[number] = json["permission_view_menu_ids"]
            return {}
        path, _, known = path.removesuffix("/").partition("rowlevelsecurity/")
        path = path or "rowlevelsecurity"
        if known:
            (there,) = [each for each in self.there[path] if each["id"] == int(known)]
            there.update(json)
            return {}
        number = 100 + len(self.written)
        self.there[path].append({"id": number} | json)
        self.permissions[number] = []
        return {"id": number}

    def all(self, kind: str, columns: list[str]) -> list[dict[str, Any]]:
        wanted = {name.partition(".")[0] for name in columns}
        nested = {"tables.id", "roles.id"} & {*columns}
        return [
            {name: each[name] for name in wanted}
            | {
                name.partition(".")[0]: [{"id": n} for n in each[name.partition(".")[0]]]
                for name in nested
            }
            for each in self.there[kind]
        ]

    def delete(self, kind: str, number: int) -> None:
        self.deleted.append((kind, number))


@pytest.mark.parametrize("prune", [False, True])
def test_what_is_not_in_the_code_is_told_and_deleted_if_asked_for(prune: bool) -> None:
    assets = read(FOLDER)
    own = {"id": 1, "uuid": str(assets.charts["orders"].uuid), "slice_name": "Orders"}
    other = {"id": 2, "uuid": "7b0d1c2e-0000-4000-8000-000000000000", "slice_name": "Scratch"}
    server: Any = Server(assets)
    server.there["chart"] = [own, other]
    server.there["security/roles"].append({"id": 9, "name": "former"})
    server.there["rowlevelsecurity"].append({"id": 7, "name": "former: store_id"})
    done = deploy(server, assets, FILES, prune=prune)
    assert server.loaded == packed(FILES)
    assert [(each.kind, each.title) for each in done.foreign] == [
        ("chart", "Scratch"), ("rule of rows", "former: store_id"), ("role", "former"),
    ]  # fmt: skip
    gone = [("chart", 2), ("rowlevelsecurity", 7), ("security/roles", 9)]
    assert server.deleted == (gone if prune else [])


def test_roles_read_their_dashboards_datasets_and_nothing_before_their_rules_stand() -> None:
    assets = read(FOLDER)
    server: Any = Server(assets)
    deploy(server, assets, FILES, prune=False)
    roles = {each["name"]: each["id"] for each in server.there["security/roles"]}
    datasets = {each["table_name"]: each["id"] for each in server.there["dataset"]}
    granted = {datasets[name] for name in assets.granted_to("store_manager")}
    assert set(server.permissions[roles["store_manager"]]) == {1} | granted
    assert server.permissions[roles["analyst"]] == [1]
    (rule,) = server.there["rowlevelsecurity"]
    own = [datasets[each] for each in ("product_change", "promoted_sales", "sales")]
    assert (rule["tables"], rule["roles"]) == (own, [roles["store_manager"]])
    granting = f"POST security/roles/{roles['store_manager']}/permissions"
    assert server.written.index("POST rowlevelsecurity/") < server.written.index(granting)
    # What somebody has added by hand goes; what is right is left alone.
    server.permissions[roles["marketing"]].append(99)
    server.written.clear()
    deploy(server, assets, FILES, prune=False)
    assert 99 not in server.permissions[roles["marketing"]]
    assert server.written == [
        f"PUT rowlevelsecurity/{rule['id']}",
        f"POST security/roles/{roles['marketing']}/permissions",
    ]


def test_a_superset_without_the_roles_that_ours_build_on_is_told() -> None:
    assets = read(FOLDER)
    server: Any = Server(assets)
    server.there["security/roles"].pop()
    with pytest.raises(LakehouseError, match="has no role sql_lab"):
        deploy(server, assets, FILES, prune=False)


def test_a_superset_that_is_away_is_told_with_its_remedy() -> None:
    with pytest.raises(Unavailable, match="dashboards up"):
        Superset("http://127.0.0.1:1", "admin", "x")


def test_a_wrong_password_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = requests.Response()
    answer.status_code = 401
    monkeypatch.setattr(requests.Session, "request", lambda *_, **__: answer)
    with pytest.raises(LakehouseError, match="refuses the user or the password"):
        Superset("http://superset", "admin", "x")


def test_before_anything_is_published_there_is_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(LakehouseError, match="nothing is published"):
        write_views(Settings(_env_file=None, home=tmp_path / "lake"))


def test_dashboards_of_another_target_are_refused(tmp_path: Path) -> None:
    arguments = ["--home", str(tmp_path), "--target", "trino", "dashboards", "up"]
    with pytest.raises(UsageError, match="not on trino"):
        CliRunner().invoke(cli.app, arguments, catch_exceptions=False)


def test_a_port_that_another_has_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        one = embedded.Instance(tmp_path, Path("python"), port)
        with pytest.raises(LakehouseError, match=f"port {port} is taken"), one.running():
            pass
