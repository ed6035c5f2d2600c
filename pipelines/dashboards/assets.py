"""Datasets, charts, dashboards and roles as people write them: a YAML file each, by name."""

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
_COLUMNS = ("groupby", "columns", "x_axis", "series", "entity", "groupbyColumns", "groupbyRows")

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Asset(_Strict):
    uuid: UUID


class Dataset(_Asset):
    """What charts read: a published model, or a query over some.

    Attributes:
        model: `<schema>.<table>` of dbt; the query's first where there is one.
        sql: in SQL that every engine reads; models are named as `marts.fct_sale`.
        time: the column that time filters are of.
        labels: of columns, where their name does not do.
        describes: columns that the query computes, of which dbt tells nothing.
        metrics: names of those that dbt's semantic models define on the model.
    """

    model: str
    sql: str | None = None
    time: str | None = None
    labels: dict[str, str] = {}
    describes: dict[str, str] = {}
    metrics: list[Name]


class Chart(_Asset):
    """One picture of one dataset; parameters are those of Superset's kind of chart.

    Attributes:
        dataset: by name.
        kind: Superset's `viz_type`.
    """

    title: str
    description: str
    dataset: Name
    kind: str
    parameters: dict[str, Any]

    def metrics(self) -> set[str]:
        """Names of the metrics that its parameters name."""
        return {name for key in _METRICS for name in _listed(self.parameters.get(key))}

    def columns(self) -> set[str]:
        """Names of the columns that its parameters name."""
        filters = self.parameters.get("adhoc_filters", ())
        named = {name for key in _COLUMNS for name in _listed(self.parameters.get(key))}
        return named | {str(each.get("subject")) for each in filters}


class Filter(_Strict):
    """A filter of a dashboard, over all charts whose dataset has the column.

    Attributes:
        days: of a time filter: how many days up to the business date are shown first.
    """

    title: str
    dataset: Name
    column: str
    days: int | None = None


class Place(_Strict):
    """A chart in a row; a row is twelve columns wide."""

    chart: Name
    width: int = Field(ge=1, le=_COLUMNS_OF_A_ROW)


class Row(_Strict):
    """Charts side by side.

    Attributes:
        height: in Superset's units of eight pixels.
    """

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


class OwnRows(_Strict):
    """Rows that a user of a role sees: those whose column has one of the user's values.

    Attributes:
        column: of each of the datasets.
        of: user → values; who is not named sees no row.
    """

    datasets: list[Name] = Field(min_length=1)
    column: str
    of: dict[str, list[int | str]]


class Role(_Strict):
    """Who sees what; its users are the admin's business.

    Attributes:
        builds_on: roles of Superset whose permissions this one has, too.
        dashboards: those whose datasets the role reads; Superset's Alpha reads all.
        rows: of datasets of which the role does not see all.
        all_rows: where `rows` stands: the datasets of which it does, each named on purpose.
        hides: columns that none of its datasets may have.
    """

    description: str
    builds_on: list[Literal["Alpha", "Gamma", "sql_lab"]] = Field(min_length=1)
    dashboards: list[Name] = []
    rows: list[OwnRows] = []
    all_rows: list[Name] = []
    hides: list[str] = []


class Assets(BaseModel):
    """All of a folder, by name."""

    model_config = ConfigDict(frozen=True)

    datasets: dict[str, Dataset]
    charts: dict[str, Chart]
    dashboards: dict[str, Dashboard]
    roles: dict[str, Role]

    def read_by(self, dashboard: str) -> set[str]:
        """Names of the datasets that a dashboard's charts and filters read."""
        told = self.dashboards[dashboard]
        charts = {self.charts[place.chart].dataset for row in told.rows for place in row.charts}
        return charts | {each.dataset for each in told.filters}

    def granted_to(self, role: str) -> set[str]:
        """Names of the datasets that a role reads for its dashboards."""
        return {name for each in self.roles[role].dashboards for name in self.read_by(each)}


_T = TypeVar("_T", bound=_Strict)


def read(folder: Path) -> Assets:
    """Read all assets.

    Raises:
        LakehouseError: there is no such folder, a file is broken, an id stands twice, or a name
            leads nowhere; all of them are told at once.
    """
    if not folder.is_dir():
        raise LakehouseError(
            f"there are no dashboards in {folder}", "keep infra/superset/assets beside dbt_project"
        )
    wrong: list[str] = []
    assets = Assets(
        datasets=_read(folder / "datasets", Dataset, wrong),
        charts=_read(folder / "charts", Chart, wrong),
        dashboards=_read(folder / "dashboards", Dashboard, wrong),
        roles=_read(folder / "roles", Role, wrong),
    )
    wrong += _twice(assets)
    # Where a file is broken, names that lead to it are no fault of their own.
    if not wrong:
        wrong += _lost(assets)
    if not wrong:
        wrong += _unruled(assets)
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
    for kind in ("datasets", "charts", "dashboards"):
        for name, asset in getattr(assets, kind).items():
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
    for name, role in assets.roles.items():
        wrong += [
            f"roles/{name}.yaml: there is no dashboard {each}"
            for each in role.dashboards
            if each not in assets.dashboards
        ]
    shown = {p.chart for d in assets.dashboards.values() for row in d.rows for p in row.charts}
    wrong += [
        f"charts/{name}.yaml: no dashboard shows it" for name in sorted(set(assets.charts) - shown)
    ]
    return wrong


def _unruled(assets: Assets) -> list[str]:
    """Datasets of which a role would see all rows, or none, by an oversight."""
    wrong = []
    for name, role in assets.roles.items():
        granted = assets.granted_to(name)
        ruled = {dataset for each in role.rows for dataset in each.datasets}
        told = f"roles/{name}.yaml"
        wrong += [
            f"{told}: none of its dashboards reads the dataset {each}"
            for each in sorted((ruled | {*role.all_rows}) - granted)
        ]
        if role.rows:
            wrong += [
                f"{told}: neither rows nor all_rows names the dataset {each}"
                for each in sorted(granted - ruled - {*role.all_rows})
            ]
        if role.rows and "Alpha" in role.builds_on:
            wrong.append(f"{told}: who builds on Alpha reads every dataset; build on Gamma")
    return wrong


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]
