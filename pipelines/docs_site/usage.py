"""Which charts show which columns of the published tables."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.dashboards.assets import Assets, Dataset
from pipelines.dashboards.models import Model, columns_of, metrics_of
from pipelines.lineage.columns import trace
from pipelines.semantics import Semantics
from pipelines.semantics import columns_of as columns_in

# Table → column → dashboard and chart.
Usage = dict[str, dict[str, list[tuple[str, str]]]]


def usage(assets: Assets, models: Mapping[str, Model], semantics: Semantics) -> Usage:
    """The columns that charts draw, and those that metrics of theirs are computed from.

    Raises:
        LakehouseError: an asset names what dbt does not have.
        NotTraced: the SQL of a dataset is not understood.
    """
    columns, read = columns_of(assets, models)
    metrics = metrics_of(assets, columns, semantics)
    origins = {
        name: _origins(dataset, columns[name], read[name], models)
        for name, dataset in assets.datasets.items()
    }
    expressions = {
        name: {metric.name: metric.expression or "" for metric in told}
        for name, told in metrics.items()
    }
    found: Usage = {}
    for dashboard in assets.dashboards.values():
        for place in (place for row in dashboard.rows for place in row.charts):
            chart = assets.charts[place.chart]
            named = chart.columns()
            for metric in chart.metrics():
                named |= columns_in(expressions[chart.dataset][metric])
            for name in sorted(named & set(columns[chart.dataset])):
                for table, column in origins[chart.dataset][name]:
                    shown = found.setdefault(table, {}).setdefault(column, [])
                    if (dashboard.title, chart.title) not in shown:
                        shown.append((dashboard.title, chart.title))
    return found


def _origins(
    dataset: Dataset, columns: Mapping[str, object], read: set[str], models: Mapping[str, Model]
) -> dict[str, list[tuple[str, str]]]:
    if dataset.sql is None:
        return {name: [(dataset.model, name)] for name in columns}
    schemas = {
        table: {name: column.type for name, column in models[table].columns.items()}
        for table in read
    }
    traced = trace(dataset.sql, "duckdb", {table: table for table in read}, schemas)
    return {name: sorted(origins) for name, origins in traced.columns.items()}
