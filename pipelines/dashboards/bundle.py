"""Assets in the form that Superset imports: its own YAML, of many more lines."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import yaml

from pipelines.dashboards.assets import Assets, Chart, Dashboard, Dataset, Fan, Figure, Filter
from pipelines.dashboards.models import Column, Model
from pipelines.semantics import Metric

# The one database; where it lies is the target's business.
DATABASE = UUID("2a6a4c38-6c4e-5a6a-9f0b-0d6d3a1c7b10")
DATABASE_NAME = "Lakehouse"
_VERSION = {"version": "1.0.0"}
# Any instant will do; a fixed one gives equal bytes for equal assets.
_MADE = "2020-01-01T00:00:00+00:00"
_ROOT = "ROOT_ID"


def bundle(
    assets: Assets,
    columns: Mapping[str, Mapping[str, Column]],
    models: Mapping[str, Model],
    metrics: Mapping[str, Sequence[Metric]],
    database: Mapping[str, Any],
    business_date: date,
) -> dict[str, dict[str, Any]]:
    """All files of the import, by path.

    Args:
        columns: of each dataset.
        models: of dbt, for descriptions and owners.
        metrics: of each dataset.
        database: how to reach it, as of `pipelines.dashboards.database`.
        business_date: the day that is not over yet; filters of days begin with those before it.
    """
    files: dict[str, dict[str, Any]] = {
        "metadata.yaml": _VERSION | {"type": "assets", "timestamp": _MADE},
        f"databases/{DATABASE_NAME}.yaml": _VERSION
        | {"database_name": DATABASE_NAME, "uuid": str(DATABASE)}
        | dict(database),
    }
    for name, dataset in assets.datasets.items():
        made = _dataset(name, dataset, columns[name], models[dataset.model], metrics[name])
        files[f"datasets/{DATABASE_NAME}/{name}.yaml"] = made
    for name, chart in assets.charts.items():
        files[f"charts/{name}.yaml"] = _chart(
            chart, assets.datasets[chart.dataset], metrics[chart.dataset]
        )
    for name, dashboard in assets.dashboards.items():
        files[f"dashboards/{name}.yaml"] = _dashboard(name, dashboard, assets, business_date)
    return files


def packed(files: Mapping[str, dict[str, Any]]) -> bytes:
    """The files as the ZIP that Superset takes: under one folder."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, file in files.items():
            archive.writestr(f"bundle/{path}", yaml.safe_dump(file, sort_keys=False))
    return content.getvalue()


def _dataset(
    name: str,
    dataset: Dataset,
    columns: Mapping[str, Column],
    model: Model,
    metrics: Sequence[Metric],
) -> dict[str, Any]:
    schema, _, table = dataset.model.partition(".")
    return _VERSION | {
        "table_name": name if dataset.sql else table,
        "schema": schema,
        "sql": dataset.sql,
        "description": model.description,
        "main_dttm_col": dataset.time,
        "uuid": str(dataset.uuid),
        "database_uuid": str(DATABASE),
        "extra": _certified(model.owner),
        "columns": [
            {
                "column_name": column,
                "verbose_name": dataset.labels.get(column),
                "description": told.description,
                "type": told.type,
                "is_dttm": told.type.startswith(("DATE", "TIMESTAMP")),
                "groupby": True,
                "filterable": True,
                "is_active": True,
            }
            for column, told in columns.items()
        ],
        "metrics": [
            {
                "metric_name": metric.name,
                "verbose_name": metric.label,
                "description": metric.description,
                "expression": metric.expression,
                "d3format": metric.format,
                "extra": _certified(metric.owner),
            }
            for metric in metrics
        ],
    }


def _chart(chart: Chart, dataset: Dataset, metrics: Sequence[Metric]) -> dict[str, Any]:
    parameters = {"viz_type": chart.kind} | chart.parameters
    if chart.fan:
        parameters["metrics"] = [*parameters.get("metrics", ()), *_fan(chart.fan, metrics)]
    if chart.figures:
        figures = [_figure(figure) for figure in chart.figures]
        if chart.kind.startswith("big_number"):
            parameters["metric"] = figures[0]
        else:
            parameters["metrics"] = [*figures, *parameters.get("metrics", ())]
        for figure in figures:
            if parameters.get("timeseries_limit_metric") == figure["label"]:
                parameters["timeseries_limit_metric"] = figure
    return _VERSION | {
        "slice_name": chart.title,
        "description": chart.description,
        "viz_type": chart.kind,
        "params": parameters,
        "uuid": str(chart.uuid),
        "dataset_uuid": str(dataset.uuid),
    }


def _fan(fan: Fan, metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    """Superset draws a band between metrics whose names end like those of its own forecasts."""
    told = {metric.name: metric for metric in metrics}
    ends = {"__yhat": fan.line, "__yhat_lower": fan.low, "__yhat_upper": fan.high}
    return [
        {
            "expressionType": "SQL",
            "sqlExpression": told[name].expression,
            "label": f"{told[fan.line].label}{end}",
            "hasCustomLabel": True,
            "optionName": f"metric{end}",
        }
        for end, name in ends.items()
    ]


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "expressionType": "SIMPLE",
        "column": {"column_name": figure.column},
        "aggregate": figure.aggregate,
        "label": figure.label,
        "hasCustomLabel": True,
        "optionName": f"metric_{figure.column}",
    }


def _dashboard(
    name: str, dashboard: Dashboard, assets: Assets, business_date: date
) -> dict[str, Any]:
    return _VERSION | {
        "dashboard_title": dashboard.title,
        "description": dashboard.description,
        "slug": name.replace("_", "-"),
        "uuid": str(dashboard.uuid),
        "published": True,
        "certified_by": dashboard.owner,
        "certification_details": "Kept as code",
        "position": _position(dashboard, assets),
        "metadata": {
            "cross_filters_enabled": True,
            "color_scheme": "colorblindSafe",
            "refresh_frequency": 0,
            "native_filter_configuration": [
                _filter(each, assets, business_date) for each in dashboard.filters
            ],
        },
    }


def _position(dashboard: Dashboard, assets: Assets) -> dict[str, Any]:
    """Superset's tree of a dashboard: the grid, its rows, their charts."""
    above = [_ROOT, "GRID_ID"]
    tree: dict[str, Any] = {
        "DASHBOARD_VERSION_KEY": "v2",
        _ROOT: {"id": _ROOT, "type": "ROOT", "children": ["GRID_ID"]},
        "GRID_ID": {"id": "GRID_ID", "type": "GRID", "children": [], "parents": [_ROOT]},
        "HEADER_ID": {"id": "HEADER_ID", "type": "HEADER", "meta": {"text": dashboard.title}},
    }

    def add(place: str, kind: str, parents: list[str], meta: dict[str, Any]) -> None:
        tree[place] = {"id": place, "type": kind, "children": [], "parents": parents, "meta": meta}
        tree[parents[-1]]["children"].append(place)

    for number, row in enumerate(dashboard.rows, 1):
        if row.title:
            heading = {"text": row.title, "headerSize": "MEDIUM_HEADER"}
            add(f"HEADER-{number}", "HEADER", above, heading)
        add(f"ROW-{number}", "ROW", above, {"background": "BACKGROUND_TRANSPARENT"})
        for at, place in enumerate(row.charts, 1):
            chart = assets.charts[place.chart]
            meta = {
                "chartId": 0,
                "width": place.width,
                "height": row.height,
                "uuid": str(chart.uuid),
                "sliceName": chart.title,
            }
            add(f"CHART-{number}-{at}", "CHART", [*above, f"ROW-{number}"], meta)
    return tree


def _filter(told: Filter, assets: Assets, business_date: date) -> dict[str, Any]:
    common = {
        "id": f"NATIVE_FILTER-{told.column}",
        "name": told.title,
        "type": "NATIVE_FILTER",
        "scope": {"rootPath": [_ROOT], "excluded": []},
        "cascadeParentIds": [],
    }
    if told.days is None:
        dataset = str(assets.datasets[told.dataset].uuid)
        return (
            common
            | {
                "filterType": "filter_select",
                "targets": [{"datasetUuid": dataset, "column": {"name": told.column}}],
                "defaultDataMask": {"extraFormData": {}, "filterState": {}},
                "controlValues": {"multiSelect": True, "searchAllOptions": True},
            }
            | _one_at_a_time(told)
        )
    shown = f"{business_date - timedelta(days=told.days)} : {business_date}"
    return common | {
        "filterType": "filter_time",
        "targets": [{}],
        "defaultDataMask": {
            "extraFormData": {"time_range": shown},
            "filterState": {"value": shown},
        },
        "controlValues": {},
    }


def _one_at_a_time(told: Filter) -> dict[str, Any]:
    if told.greatest_by is None:
        return {}
    return {
        "sortMetric": told.greatest_by,
        # Charts wait until it is known which value is the first.
        "requiredFirst": True,
        "controlValues": {
            "multiSelect": False,
            "searchAllOptions": True,
            "enableEmptyFilter": True,
            "defaultToFirstItem": True,
            "sortAscending": False,
        },
    }


def _certified(owner: str) -> str:
    told = {"certified_by": owner, "details": "Made of dbt's contract"}
    return json.dumps({"certification": told})
