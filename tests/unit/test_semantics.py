"""Metrics as SQL over one model; and that those of the project stand on what its models promise."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from metricflow_semantic_interfaces.validations.semantic_manifest_validator import (
    SemanticManifestValidator,
)
from metricflow_semantics.model.dbt_manifest_parser import (
    parse_manifest_from_dbt_generated_manifest,
)

from pipelines.errors import LakehouseError
from pipelines.semantics import MANIFEST, Metric, Semantics, columns_of

PROJECT = Path(__file__).parents[2] / "dbt_project"

# -- a manifest made by hand -------------------------------------------------------------------


def measure(name: str, agg: str = "sum", expr: str | None = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "agg": agg, "expr": expr, "non_additive_dimension": None} | more


def model(name: str, *measures: dict[str, Any], **meta: Any) -> dict[str, Any]:
    return {
        "name": f"semantic_{name}",
        "node_relation": {"alias": name},
        "config": {"meta": meta},
        "measures": list(measures),
        "dimensions": [{"name": "day", "expr": None}],
        "entities": [{"name": "thing", "expr": "thing_id"}],
    }


def of(name: str, **more: Any) -> dict[str, Any]:
    """A reference to a measure or a metric."""
    return {
        "name": name, "alias": None, "filter": None, "offset_window": None, "offset_to_grain": None,
        "fill_nulls_with": None, "join_to_timespine": False,
    } | more  # fmt: skip


def metric(
    name: str, kind: str, measures: list[str], meta: dict[str, str] | None = None, **parameters: Any
) -> dict[str, Any]:
    return {
        "name": name, "type": kind, "label": name.title(), "description": None,
        "filter": parameters.pop("filter", None),
        "config": {"meta": meta or {}},
        "type_params": {"input_measures": [of(each) for each in measures]} | parameters,
    }  # fmt: skip


def simple(name: str, **more: Any) -> dict[str, Any]:
    """A metric that is the measure of the same name."""
    return metric(name, "simple", [name], measure=of(name), **more)


def ratio(name: str, upper: Any, lower: Any) -> dict[str, Any]:
    return metric(
        name, "ratio", [upper["name"], lower["name"]], numerator=upper, denominator=lower
    )  # fmt: skip


SALES = model(
    "fct_sale",
    measure("net"),
    measure("pieces", expr="quantity"),
    measure("orders", "count_distinct", "order_id"),
    measure("rows", "count", "sale_id"),
    measure("late", "sum_boolean", "is_late"),
    measure("price", "average"),
    measure("middle", "median", "price"),
    measure("stock", non_additive_dimension={"name": "day"}),
    measure("cheap", expr="case when price < 1 then net end"),
    rolled_up_in=["mart_sales_daily"],
)
RETURNS = model("fct_return", measure("returned"))
FILTER = {"where_filters": [{"where_sql_template": "{{ Dimension('thing__kind') }} = 'x'"}]}


def told(*metrics: dict[str, Any], of_model: str = "fct_sale", name: str | None = None) -> Metric:
    """The metric of this name, or the last one."""
    semantics = Semantics({"semantic_models": [SALES, RETURNS], "metrics": list(metrics)})
    wanted = name or metrics[-1]["name"]
    (found,) = [each for each in semantics.metrics_of(of_model) if each.name == wanted]
    return found


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        ("net", "sum(net)"),
        ("pieces", "sum(quantity)"),
        ("orders", "count(distinct order_id)"),
        ("rows", "sum(case when sale_id is not null then 1 else 0 end)"),
        ("late", "sum(case when is_late then 1 else 0 end)"),
        ("price", "avg(price)"),
        ("cheap", "sum(case when price < 1 then net end)"),
    ],
)
def test_a_measure_is_an_aggregate_of_its_column(name: str, expression: str) -> None:
    found = told(simple(name))
    assert (found.expression, found.reason) == (expression, "")


def test_a_ratio_divides_no_whole_numbers_and_nothing_by_zero() -> None:
    found = told(simple("pieces"), simple("orders"), ratio("basket", of("pieces"), of("orders")))
    assert found.expression == (
        "cast(sum(quantity) as double) / nullif(count(distinct order_id), 0)"
    )


def test_a_derived_metric_puts_its_parts_in_brackets() -> None:
    derived = metric(
        "cost", "derived", ["net", "pieces"], expr="2 * (net - p)",
        metrics=[of("net"), of("pieces", alias="p")],
    )  # fmt: skip
    found = told(simple("net"), simple("pieces"), derived)
    assert found.expression == "2 * ((sum(net)) - (sum(quantity)))"


def test_unit_owner_and_format_are_told() -> None:
    found = told(simple("net", meta={"unit": "USD", "owner": "sales"}))
    assert (found.label, found.unit, found.owner, found.format) == ("Net", "USD", "sales", "$,.2f")
    assert told(simple("orders")).format == ",.0f"


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ([simple("middle")], "median"),
        ([simple("stock")], "over time"),
        ([simple("net", filter=FILTER)], "filtered by dimensions: {{ Dimension('thing__kind') }}"),
        ([metric("net", "simple", ["net"], measure=of("net", filter=FILTER))], "filtered"),
        ([metric("net", "simple", ["net"], measure=of("net", fill_nulls_with=0))], "fills days"),
        ([metric("year", "cumulative", ["net"], measure=of("net"))], "cumulative"),
        ([metric("bought", "conversion", ["net"])], "conversion"),
        ([simple("net"), simple("returned"), ratio("share", of("returned"), of("net"))],
         "it needs 2 models: fct_return, fct_sale"),
        ([simple("net"), ratio("share", of("net", filter=FILTER), of("net"))], "filtered"),
        ([simple("net", filter=FILTER), ratio("share", of("net"), of("net"))], "net is filtered"),
        ([simple("net"), ratio("growth", of("net"), of("net", offset_window="7 days"))],
         "other days"),
    ],
)  # fmt: skip
def test_what_is_more_than_aggregates_of_one_model_says_so(
    metrics: list[dict[str, Any]], reason: str
) -> None:
    found = told(*metrics)
    assert found.expression is None
    assert reason in found.reason


def test_a_roll_up_tells_the_sums_of_columns_and_nothing_else() -> None:
    parts = [simple("net"), simple("pieces"), simple("orders"), simple("cheap")]
    rate = ratio("rate", of("net"), of("pieces"))
    basket = ratio("basket", of("net"), of("orders"))
    semantics = Semantics({"semantic_models": [SALES, RETURNS], "metrics": [*parts, rate, basket]})
    found = {each.name: each for each in semantics.metrics_of("marts.mart_sales_daily")}
    assert {name: each.expression for name, each in found.items() if each.expression} == {
        "net": "sum(net)",
        "pieces": "sum(quantity)",
        "rate": "cast(sum(net) as double) / nullif(sum(quantity), 0)",
    }
    assert "orders is no sum of a column" in found["basket"].reason
    assert found["cheap"].models == ("fct_sale",)
    assert found["cheap"].model == "mart_sales_daily"


def test_a_model_without_metrics_has_none() -> None:
    assert Semantics({"semantic_models": [SALES], "metrics": []}).metrics_of("fct_sale") == []


def test_without_a_manifest_it_is_told_who_writes_it(tmp_path: Path) -> None:
    with pytest.raises(LakehouseError) as raised:
        Semantics.read(tmp_path / MANIFEST)
    assert "dbt parse" in raised.value.remedy


# -- the project's own -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what dbt writes when it parses the project."""
    folder = tmp_path_factory.mktemp("parsed")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "dbt"), "parse", "--quiet", "--target", "embedded",
         "--target-path", str(folder), "--log-path", str(folder)],
        cwd=PROJECT, capture_output=True, text=True, check=False, timeout=120,
        env=os.environ | {"LAKEHOUSE_HOME": str(folder / "lake"),
                          "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture(scope="module")
def manifest(parsed: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((parsed / MANIFEST).read_text())
    return found


@pytest.fixture(scope="module")
def contracts(parsed: Path) -> dict[str, set[str]]:
    """Model → the columns that its contract promises."""
    nodes = json.loads((parsed / "manifest.json").read_text())["nodes"].values()
    return {
        node["name"]: set(node["columns"])
        for node in nodes
        if node["resource_type"] == "model" and node["config"]["contract"]["enforced"]
    }


def errors(manifest: dict[str, Any]) -> list[str]:
    """What MetricFlow has against a manifest."""
    semantic_manifest = parse_manifest_from_dbt_generated_manifest(
        manifest_json_string=json.dumps(manifest)
    )
    found = SemanticManifestValidator[Any]().validate_semantic_manifest(semantic_manifest)
    return [issue.message for issue in found.errors]


def test_metricflow_has_nothing_against_the_project(manifest: dict[str, Any]) -> None:
    assert errors(manifest) == []


def test_metricflow_names_the_metric_of_a_measure_that_is_gone(manifest: dict[str, Any]) -> None:
    changed = copy.deepcopy(manifest)
    (sales,) = [each for each in changed["semantic_models"] if each["name"] == "sales"]
    sales["measures"] = [each for each in sales["measures"] if each["name"] != "gross_amount"]
    assert any("gross_sales" in message for message in errors(changed))


def test_every_metric_says_what_it_is(manifest: dict[str, Any]) -> None:
    metrics = Semantics(manifest).metrics()
    assert len(metrics) > 20
    silent = [m.name for m in metrics if not (m.description and m.unit and m.owner)]
    assert silent == []
    assert [m["name"] for m in manifest["metrics"] if not m["label"]] == []


def test_metrics_read_columns_that_contracts_promise(
    manifest: dict[str, Any], contracts: dict[str, set[str]]
) -> None:
    assert Semantics(manifest).missing_columns(contracts) == []


def test_a_column_that_is_dropped_names_what_read_it(
    manifest: dict[str, Any], contracts: dict[str, set[str]]
) -> None:
    changed = contracts | {
        "fct_sale": contracts["fct_sale"] - {"discount_amount"},
        "mart_sales_weekly": contracts["mart_sales_weekly"] - {"gross_amount"},
        "dim_store": contracts["dim_store"] - {"warehouse_id"},
    }
    assert Semantics(manifest).missing_columns(changed) == [
        "dimension warehouse of stores: dim_store has no column warehouse_id",
        "metric discounted_revenue: fct_sale has no column discount_amount",
        "metric discounted_revenue_share: fct_sale has no column discount_amount",
        "metric discounts: fct_sale has no column discount_amount",
        "metric gross_sales: mart_sales_weekly has no column gross_amount",
        "metric price_realisation: mart_sales_weekly has no column gross_amount",
    ]


@pytest.mark.parametrize("dialect", ["duckdb", "trino", "spark"])
def test_every_engine_reads_the_expressions_alike(dialect: str, manifest: dict[str, Any]) -> None:
    expressions = [m.expression for m in Semantics(manifest).metrics() if m.expression]
    for expression in expressions:
        tree = sqlglot.parse_one(expression, dialect=dialect)
        columns = {column.name for column in tree.find_all(sqlglot.exp.Column)}
        assert columns == columns_of(expression)


def test_what_has_no_expression_is_known(manifest: dict[str, Any]) -> None:
    untold = {m.name: m.reason for m in Semantics(manifest).metrics() if m.expression is None}
    assert set(untold) == {"pieces_sold", "revenue_last_28_days"}
