"""Every way to a metric tells the same number: MetricFlow, its expression, SQL written by hand."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.adapters.factory import get_adapter_by_type
from dbt_metricflow.cli.dbt_connectors.adapter_backed_client import AdapterBackedSqlClient
from dbt_metricflow.cli.dbt_connectors.dbt_config_accessor import dbtProjectMetadata
from metricflow.engine.metricflow_engine import MetricFlowEngine, MetricFlowQueryRequest
from metricflow_semantics.model.dbt_manifest_parser import (
    parse_manifest_from_dbt_generated_manifest,
)
from metricflow_semantics.model.semantic_manifest_lookup import SemanticManifestLookup

from pipelines.semantics import MANIFEST, Metric, Semantics
from tests.embedded.conftest import REPOSITORY, Lakehouse
from tests.embedded.dbt_helpers import environment
from tests.embedded.predicted import PREDICTED
from tests.embedded.test_main_line import copied

PROJECT = REPOSITORY / "dbt_project"


class MetricFlow:
    """MetricFlow on a home's work file, by the project's profile."""

    def __init__(self, home: Path) -> None:
        dbtProjectMetadata.load_from_paths(PROJECT, PROJECT)
        text = (home / "state" / "dbt" / MANIFEST).read_text()
        self._client = AdapterBackedSqlClient(get_adapter_by_type("duckdb"))
        self._engine = MetricFlowEngine(
            SemanticManifestLookup(
                parse_manifest_from_dbt_generated_manifest(manifest_json_string=text)
            ),
            self._client,
        )

    def rows(self, *metrics: str, by: str = "", where: str = "") -> dict[str, list[float | None]]:
        """Value of `by` (a date as 2017-01-31; empty where there is none) → values of metrics."""
        request = MetricFlowQueryRequest.create(
            metric_names=metrics,
            group_by_names=[by] if by else None,
            where_constraints=[where] if where else None,
        )
        table = self._engine.query(request).result_df
        assert table is not None
        order = [table.column_names.index(name) for name in metrics]
        return {
            str(row[0])[:10] if by else "": [number(row[place]) for place in order]
            for row in table.rows
        }

    def sql(self, query: str) -> list[dict[str, Any]]:
        """Plain SQL on the same file."""
        table = self._client.query(query)
        return [dict(zip(table.column_names, row, strict=True)) for row in table.rows]


def number(value: Any) -> float | None:
    return None if value is None else float(value)


def approximately(rows: dict[str, list[float | None]]) -> Any:
    return {
        key: [value if value is None else pytest.approx(value, rel=1e-9) for value in values]
        for key, values in rows.items()
    }


@pytest.fixture(scope="module")
def shop(demo: Lakehouse, tmp_path_factory: pytest.TempPathFactory) -> Lakehouse:
    """The demo's home, with predictions in its work file."""
    lakehouse = copied(demo, tmp_path_factory.mktemp("metrics"))
    with duckdb.connect(str(lakehouse.home / "warehouse.duckdb")) as connection:
        connection.execute(PREDICTED)
    return lakehouse


@pytest.fixture(scope="module")
def metricflow(shop: Lakehouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MetricFlow]:
    told = str(tmp_path_factory.mktemp("told"))
    with environment(
        LAKEHOUSE_HOME=str(shop.home), DBT_SEND_ANONYMOUS_USAGE_STATS="false",
        DBT_TARGET_PATH=told, DBT_LOG_PATH=told,
    ):  # fmt: skip
        metricflow = MetricFlow(shop.home)
    try:
        yield metricflow
    finally:
        DuckDBConnectionManager.close_all_connections()


@pytest.fixture(scope="module")
def semantics(shop: Lakehouse) -> Semantics:
    return Semantics.read(shop.home / "state" / "dbt" / MANIFEST)


def expressible(semantics: Semantics, model: str) -> list[Metric]:
    found = [metric for metric in semantics.metrics_of(model) if metric.expression]
    assert found
    return found


def selected(metrics: list[Metric]) -> str:
    return ", ".join(f"{metric.expression} as {metric.name}" for metric in metrics)


@pytest.mark.parametrize(
    ("table", "day"),
    [
        ("marts.fct_sale", "sale_date"),
        ("marts.mart_sales_daily", "sale_date"),
        ("marts.mart_stock_coverage", "business_date"),
    ],
)
def test_expressions_on_published_marts_give_what_metricflow_gives_day_by_day(
    shop: Lakehouse, metricflow: MetricFlow, semantics: Semantics, table: str, day: str
) -> None:
    metrics = expressible(semantics, table)
    names = [metric.name for metric in metrics]
    found = shop.sql(f"select {day} as day, {selected(metrics)} from {table} group by {day}")
    by_day = {row["day"]: [number(row[name]) for name in names] for row in found}
    assert by_day
    assert metricflow.rows(*names, by="metric_time__day") == approximately(by_day)


@pytest.mark.parametrize(
    "table",
    ["marts.fct_sale", "marts.mart_sales_daily", "marts.mart_sales_weekly",
     "marts.mart_sales_monthly", "marts.mart_stock_coverage"],
)  # fmt: skip
def test_expressions_on_published_marts_give_what_metricflow_gives_in_all(
    shop: Lakehouse, metricflow: MetricFlow, semantics: Semantics, table: str
) -> None:
    metrics = expressible(semantics, table)
    (found,) = shop.sql(f"select {selected(metrics)} from {table}")
    totals = {"": [number(found[metric.name]) for metric in metrics]}
    assert metricflow.rows(*[metric.name for metric in metrics]) == approximately(totals)


@pytest.mark.parametrize("model", ["mart_forecast_accuracy", "mart_churn_client"])
def test_expressions_on_predictions_give_what_metricflow_gives(
    metricflow: MetricFlow, semantics: Semantics, model: str
) -> None:
    metrics = expressible(semantics, model)
    (found,) = metricflow.sql(f"select {selected(metrics)} from predictions.{model}")
    totals = {"": [number(found[metric.name]) for metric in metrics]}
    assert None not in totals[""]
    assert metricflow.rows(*[metric.name for metric in metrics]) == approximately(totals)


def test_where_nothing_is_predicted_metrics_are_empty(
    demo: Lakehouse, semantics: Semantics
) -> None:
    for model in ("mart_forecast_accuracy", "mart_churn_client"):
        metrics = expressible(semantics, model)
        assert demo.sql(f"select {selected(metrics)} from predictions.{model}") == [
            {metric.name: None for metric in metrics}
        ]


def test_sales_by_department_and_segment_are_those_of_sql(
    shop: Lakehouse, metricflow: MetricFlow
) -> None:
    by_hand = (
        "select {by}, sum(s.net_amount), count(distinct s.order_id), "
        "sum(s.net_amount)::double / count(distinct s.order_id), "
        "sum(s.net_amount)::double / nullif(sum(s.gross_amount), 0) from marts.fct_sale s {join} "
        "group by all"
    )
    metrics = ("revenue", "orders", "basket_value", "price_realisation")
    for dimension, by, join in (
        ("product__department", "p.department",
         "left join marts.dim_product p on p.product_id = s.product_id and p.is_current"),
        ("client__segment", "c.segment",
         "left join marts.mart_client_rfm c on c.client_id = s.client_id"),
        ("store__warehouse", "t.warehouse_id",
         "left join marts.dim_store t on t.store_id = s.store_id"),
        ("metric_time__month", "date_trunc('month', s.sale_date)::date", ""),
    ):  # fmt: skip
        rows = [list(row.values()) for row in shop.sql(by_hand.format(by=by, join=join))]
        expected = {str(row[0])[:10]: [number(value) for value in row[1:]] for row in rows}
        assert len(expected) > 1
        assert metricflow.rows(*metrics, by=dimension) == approximately(expected)


def test_pieces_leave_out_what_is_counted_in_tiny_units(
    shop: Lakehouse, metricflow: MetricFlow
) -> None:
    (found,) = shop.sql(
        "select sum(s.quantity) filter (coalesce(p.department, '') not in "
        "('FUEL', 'MISCELLANEOUS')) as pieces, sum(s.quantity) as units from marts.fct_sale s "
        "left join marts.dim_product p on p.product_id = s.product_id and p.is_current"
    )
    assert metricflow.rows("pieces_sold") == {"": [found["pieces"]]}
    assert found["pieces"] < found["units"]


def test_a_cumulative_metric_follows_the_days_of_dim_date(
    shop: Lakehouse, metricflow: MetricFlow
) -> None:
    found = shop.sql(
        "select d.date_day, sum(s.net_amount) as revenue from marts.dim_date d join marts.fct_sale "
        "s on s.sale_date > d.date_day - 28 and s.sale_date <= d.date_day "
        "where d.date_day between '2017-03-01' and '2017-04-30' group by all"
    )
    expected = {row["date_day"]: [number(row["revenue"])] for row in found}
    assert len(expected) == 61
    rows = metricflow.rows("revenue_last_28_days", by="metric_time__day")
    assert {day: rows[day] for day in expected} == approximately(expected)


def test_the_error_of_a_week_is_that_of_its_days(metricflow: MetricFlow) -> None:
    found = metricflow.sql(
        "select date_trunc('week', forecast_date)::date as week, sum(absolute_error)::double / "
        "sum(quantity) as wape from predictions.mart_forecast_accuracy group by all"
    )
    expected = {str(row["week"])[:10]: [number(row["wape"])] for row in found}
    assert len(expected) == 3
    assert metricflow.rows("forecast_wape", by="metric_time__week") == approximately(expected)


def test_the_command_of_metricflow_tells_what_the_docs_say(demo: Lakehouse, tmp_path: Path) -> None:
    # A folder of its own: `mf` reads what dbt wrote below it.
    project = tmp_path / "dbt_project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    home = copied(demo, tmp_path).home
    # `mf` would ask for a newer version of itself.
    surroundings = os.environ | {
        "LAKEHOUSE_HOME": str(home), "HTTPS_PROXY": "http://127.0.0.1:9",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }  # fmt: skip
    for command in (
        ["dbt", "parse", "--quiet"],
        ["mf", "query", "--metrics", "revenue,orders", "--group-by", "metric_time__month",
         "--csv", str(tmp_path / "told.csv"), "--quiet"],
    ):  # fmt: skip
        command[0] = str(Path(sys.executable).parent / command[0])
        done = subprocess.run(
            command, cwd=project, env=surroundings, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "told.csv").open() as file:
        told = {
            row["metric_time__month"][:10]: [number(row["revenue"]), number(row["orders"])]
            for row in csv.DictReader(file)
        }
    by_hand = demo.sql(
        "select sale_month, sum(net_amount) as revenue, count(distinct order_id) as orders "
        "from marts.fct_sale group by all"
    )
    assert told == approximately(
        {row["sale_month"]: [number(row["revenue"]), number(row["orders"])] for row in by_hand}
    )


def test_the_command_lists_metrics_of_the_last_run(demo: Lakehouse) -> None:
    found = json.loads(demo.good("metrics", "--json"))
    assert {metric["name"] for metric in found} >= {"revenue", "forecast_wape", "clients_at_risk"}
    (revenue,) = [
        metric
        for metric in json.loads(demo.good("metrics", "marts.mart_sales_weekly", "--json"))
        if metric["name"] == "revenue"
    ]
    assert revenue["expression"] == "sum(net_amount)"
    assert "basket_value" in demo.good("metrics")
