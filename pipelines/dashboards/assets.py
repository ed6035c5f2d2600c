"""Datasets, charts and dashboards as people write them: a YAML file each, known by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.errors import LakehouseError

_COLUMNS_OF_A_ROW = 12
# What a chart's parameters name by: metrics, and columns.
_METRICS = ("metric", "metric_2", "metrics", "metrics_b", "percent_metrics", "size", "x_axis_sort",
            "timeseries_limit_metric")  # fmt: skip
_COLUMNS = ("groupby", "columns", "x_axis", "series", "entity", "groupbyColumns", "groupbyRows",
            "all_columns")  # fmt: skip

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class _Asset(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    uuid: UUID


class Dataset(_Asset):
    """What charts read: a published model, or a query over some.

    Attributes:
        model: `<schema>.<table>` of dbt: whose it is.
        sql: in SQL that every engine reads; models are named as `marts.fct_sale`.
        time: the column that time filters are of.
        labels: of columns, where their name does not do.
        describes: columns that the query computes, of which dbt tells nothing.
        metrics: names of those that dbt's semantic models define on the models that it reads.
    """

    model: str
    sql: str | None = None
    time: str | None = None
    labels: dict[str, str] = {}
    describes: dict[str, str] = {}
    metrics: list[Name]


class Fan(BaseModel):
    """Metrics of a line with a band around it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    line: Name
    low: Name
    high: Name


class Figure(BaseModel):
    """An aggregate of a column that no metric can tell.

    Of the platform's own tables, and of what engines compute each in its way.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    column: str
    aggregate: Literal["SUM", "MIN", "MAX", "AVG"]


class Chart(_Asset):
    """One picture of one dataset; parameters are those of Superset's kind of chart.

    Attributes:
        dataset: by name.
        kind: Superset's `viz_type`.
        fan: drawn beside the metrics of a line chart.
        figures: beside the metrics, or instead of them.
    """

    title: str
    description: str
    dataset: Name
    kind: str
    parameters: dict[str, Any]
    fan: Fan | None = None
    figures: list[Figure] = []

    def metrics(self) -> set[str]:
        """Names of the metrics that its parameters name."""
        named = {name for key in _METRICS for name in _listed(self.parameters.get(key))}
        named |= set(self.fan.model_dump().values()) if self.fan else set()
        # Bars stand in the order of a metric, or of their own axis.
        return named - set(_listed(self.parameters.get("x_axis")))

    def columns(self) -> set[str]:
        """Names of the columns that its parameters name."""
        filters = self.parameters.get("adhoc_filters", ())
        named = {name for key in _COLUMNS for name in _listed(self.parameters.get(key))}
        named |= {figure.column for figure in self.figures}
        return named | {str(each.get("subject")) for each in filters}


class Filter(BaseModel):
    """A filter of a dashboard, over all charts whose dataset has the column.

    Attributes:
        days: of a time filter: how many days up to the business date are shown first.
        greatest_by: a metric of the dataset: one value at a time, and first that of which it is the
            greatest.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    dataset: Name
    column: str
    days: int | None = None
    greatest_by: Name | None = None


class Place(BaseModel):
    """A chart in a row; a row is twelve columns wide."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    chart: Name
    width: int = Field(ge=1, le=_COLUMNS_OF_A_ROW)


class Row(BaseModel):
    """Charts side by side.

    Attributes:
        height: in Superset's units of eight pixels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str | None = None
    height: int = Field(ge=5, le=200)
    charts: list[Place] = Field(min_length=1)


class Dashboard(_Asset):
    """Rows of charts, and the filters over them."""

    title: str
    description: str
    owner: str
    filters: list[Filter] = []
    rows: list[Row] = Field(min_length=1)


class Assets(BaseModel):
    """All of a folder, by name."""

    model_config = ConfigDict(frozen=True)

    datasets: dict[str, Dataset]
    charts: dict[str, Chart]
    dashboards: dict[str, Dashboard]


Kind = Literal["datasets", "charts", "dashboards"]
_T = TypeVar("_T", bound=_Asset)


def read(folder: Path) -> Assets:
    """Read all assets.

    Raises:
        LakehouseError: a file is broken, an id stands twice, or a name leads nowhere; all of them
            are told at once.
    """
    wrong: list[str] = []
    assets = Assets(
        datasets=_read(folder / "datasets", Dataset, wrong),
        charts=_read(folder / "charts", Chart, wrong),
        dashboards=_read(folder / "dashboards", Dashboard, wrong),
    )
    wrong += _twice(assets)
    # Where a file is broken, names that lead to it are no fault of their own.
    if not wrong:
        wrong += _lost(assets)
    if wrong:
        raise broken(wrong)
    return assets


def broken(wrong: list[str]) -> LakehouseError:
    """What is wrong with assets, a line each."""
    return LakehouseError(
        "the dashboards' assets are wrong:\n  " + "\n  ".join(wrong),
        "correct these files; nothing was changed",
    )


def _read(folder: Path, kind: Callable[..., _T], wrong: list[str]) -> dict[str, _T]:
    found: dict[str, _T] = {}
    for path in sorted(folder.glob("*.yaml")):
        told = f"{folder.name}/{path.name}"
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            if not isinstance(content, Mapping):
                wrong.append(f"{told}: holds no names with values")
                continue
            found[path.stem] = kind(**content)
        except yaml.YAMLError as error:
            wrong.append(f"{told}: is no YAML: {' '.join(str(error).split())}")
        except ValidationError as error:
            wrong += [
                f"{told}: {'.'.join(map(str, each['loc']))}: {each['msg']}"
                for each in error.errors()
            ]
    return found


def _twice(assets: Assets) -> list[str]:
    first: dict[UUID, str] = {}
    wrong = []
    for kind, of_kind in assets:
        for name, asset in of_kind.items():
            if asset.uuid in first:
                wrong.append(f"{kind}/{name}.yaml: has the uuid of {first[asset.uuid]}")
            first.setdefault(asset.uuid, f"{kind}/{name}.yaml")
    return wrong


def _lost(assets: Assets) -> list[str]:
    """Names that lead nowhere, rows that are too wide, charts that nobody shows."""
    wrong = []
    for name, chart in assets.charts.items():
        if chart.dataset not in assets.datasets:
            wrong.append(f"charts/{name}.yaml: there is no dataset {chart.dataset}")
            continue
        known = assets.datasets[chart.dataset].metrics
        wrong += [
            f"charts/{name}.yaml: the dataset {chart.dataset} has no metric {metric}"
            for metric in sorted(chart.metrics() - set(known))
        ]
    for name, dashboard in assets.dashboards.items():
        told = f"dashboards/{name}.yaml"
        placed = [place for row in dashboard.rows for place in row.charts]
        wrong += [
            f"{told}: there is no chart {place.chart}"
            for place in placed
            if place.chart not in assets.charts
        ]
        wrong += [
            f"{told}: row {number} is {width} columns wide, a dashboard {_COLUMNS_OF_A_ROW}"
            for number, row in enumerate(dashboard.rows, 1)
            if (width := sum(place.width for place in row.charts)) > _COLUMNS_OF_A_ROW
        ]
        wrong += [
            f"{told}: the filter {each.title} is of no dataset: {each.dataset}"
            for each in dashboard.filters
            if each.dataset not in assets.datasets
        ]
        wrong += [
            f"{told}: the dataset {each.dataset} has no metric {each.greatest_by}"
            for each in dashboard.filters
            if each.greatest_by and each.dataset in assets.datasets
            and each.greatest_by not in assets.datasets[each.dataset].metrics
        ]  # fmt: skip
    shown = {p.chart for d in assets.dashboards.values() for row in d.rows for p in row.charts}
    wrong += [
        f"charts/{name}.yaml: no dashboard shows it" for name in sorted(set(assets.charts) - shown)
    ]
    return wrong


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]
