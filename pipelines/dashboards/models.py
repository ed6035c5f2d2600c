"""What dbt tells of the published models, and what columns a dataset over them has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify

from pipelines.dashboards.assets import Assets, Dataset, broken
from pipelines.semantics import Metric, Semantics

_PUBLISHED = ("marts", "features", "predictions", "quality")
# DuckDB's and Trino's are alike in what datasets may say.
_DIALECT = "duckdb"


@dataclass(frozen=True)
class Column:
    """A column of a model or of a dataset."""

    type: str
    description: str


@dataclass(frozen=True)
class Model:
    """A published model."""

    description: str
    owner: str
    columns: Mapping[str, Column]


def models_of(manifest: Any) -> dict[str, Model]:
    """The published models of dbt's manifest, by `<schema>.<table>`."""
    return {
        f"{node.config.schema}.{node.name}": Model(
            " ".join(node.description.split()),
            str(node.config.meta.get("owner", "")),
            {
                column.name: Column(
                    str(column.data_type).upper(), " ".join(column.description.split())
                )
                for column in node.columns.values()
            },
        )
        for node in manifest.nodes.values()
        # As readers know it: where it is built depends on the target.
        if node.resource_type == "model" and node.config.schema in _PUBLISHED
    }


def columns_of(
    assets: Assets, models: Mapping[str, Model]
) -> tuple[dict[str, dict[str, Column]], dict[str, set[str]]]:
    """Columns of each dataset, and the models it reads.

    Raises:
        LakehouseError: a dataset, chart or filter names a model or column that dbt does not have;
            all are told at once.
    """
    wrong: list[str] = []
    columns, read = {}, {}
    for name, dataset in assets.datasets.items():
        try:
            columns[name], read[name] = _columns(dataset, models)
        except (SqlglotError, KeyError) as error:
            told = " ".join(str(error.args[0]).split())
            wrong.append(f"datasets/{name}.yaml: {told}")
            continue
        wrong += [f"datasets/{name}.yaml: {each}" for each in _of_dataset(dataset, columns[name])]
    for name, chart in assets.charts.items():
        known = columns.get(chart.dataset)
        if known is None:
            continue
        unknown = chart.columns() - set(known) - set(assets.datasets[chart.dataset].metrics)
        wrong += [
            f"charts/{name}.yaml: the dataset {chart.dataset} has no column {column}"
            for column in sorted(unknown)
        ]
    for name, dashboard in assets.dashboards.items():
        wrong += [
            f"dashboards/{name}.yaml: the dataset {each.dataset} has no column {each.column}"
            for each in dashboard.filters
            if each.dataset in columns and each.column not in columns[each.dataset]
        ]
    wrong += _of_roles(assets, columns)
    if wrong:
        raise broken(wrong)
    return columns, read


def _of_roles(assets: Assets, columns: Mapping[str, Mapping[str, Column]]) -> list[str]:
    """Columns by which a role's rows are told, and those that it must not see."""
    wrong = []
    for name, role in assets.roles.items():
        told = f"roles/{name}.yaml"
        wrong += [
            f"{told}: the dataset {dataset} has no column {each.column}"
            for each in role.rows
            for dataset in each.datasets
            if each.column not in columns.get(dataset, {each.column: None})
        ]
        wrong += [
            f"{told}: the dataset {dataset} has the column {column}, which the role hides"
            for dataset in sorted(assets.granted_to(name))
            for column in role.hides
            if column in columns.get(dataset, {})
        ]
    return wrong


def _columns(dataset: Dataset, models: Mapping[str, Model]) -> tuple[dict[str, Column], set[str]]:
    if dataset.model not in models:
        raise KeyError(f"dbt has no published model {dataset.model}")
    if dataset.sql is None:
        return dict(models[dataset.model].columns), {dataset.model}
    tree = sqlglot.parse_one(dataset.sql, dialect=_DIALECT)
    read = {f"{table.db}.{table.name}" for table in tree.find_all(exp.Table) if table.db}
    if unknown := sorted(read - set(models)):
        raise KeyError(f"dbt has no published model {', '.join(unknown)}")
    schema: dict[str, Any] = {}
    for name in read:
        folder, _, table = name.partition(".")
        typed = {column: each.type for column, each in models[name].columns.items()}
        schema.setdefault(folder, {})[table] = typed
    qualified = qualify(tree, schema=schema, dialect=_DIALECT, quote_identifiers=False)
    annotate_types(qualified, schema=schema, dialect=_DIALECT)
    if not isinstance(qualified, exp.Query):
        raise KeyError("the query is no select")
    found = {}
    for column in qualified.selects:
        name = column.alias_or_name
        described = dataset.describes.get(name) or _described(column, qualified, models)
        kind = column.type.sql(_DIALECT) if column.type else "UNKNOWN"
        found[name] = Column(kind, described)
    return found, read


def _described(column: exp.Expr, tree: exp.Query, models: Mapping[str, Model]) -> str:
    """What dbt tells of a column that is taken as it is; nothing of one that is computed."""
    taken = column.unalias()
    if not isinstance(taken, exp.Column):
        return ""
    for table in tree.find_all(exp.Table):
        if table.alias_or_name == taken.table:
            known = models[f"{table.db}.{table.name}"].columns.get(taken.name)
            return known.description if known else ""
    return ""


def _of_dataset(dataset: Dataset, columns: Mapping[str, Column]) -> list[str]:
    """Names in a dataset's own lines that its columns do not have."""
    named = {*dataset.labels, *dataset.describes, *([dataset.time] if dataset.time else [])}
    wrong = [f"there is no column {name}" for name in sorted(named - set(columns))]
    wrong += [f"nobody describes the column {n}" for n, c in columns.items() if not c.description]
    return wrong


def metrics_of(
    assets: Assets, columns: Mapping[str, Mapping[str, Column]], semantics: Semantics
) -> dict[str, list[Metric]]:
    """The metrics of each dataset, as dbt's semantic models define them.

    Raises:
        LakehouseError: one is not defined on the dataset's model, is no aggregate of it, or reads
            a column that the dataset's query leaves out; all are told at once.
    """
    wrong: list[str] = []
    found: dict[str, list[Metric]] = {}
    for name, dataset in assets.datasets.items():
        told = f"datasets/{name}.yaml"
        defined = {metric.name: metric for metric in semantics.metrics_of(dataset.model)}
        found[name] = []
        for asked in dataset.metrics:
            metric = defined.get(asked)
            if metric is None:
                wrong.append(f"{told}: no semantic model defines {asked} on {dataset.model}")
            elif metric.expression is None:
                wrong.append(f"{told}: {asked} cannot be told there: {metric.reason}")
            else:
                tree = sqlglot.parse_one(metric.expression, dialect=_DIALECT)
                named = {column.name for column in tree.find_all(exp.Column)}
                wrong += [
                    f"{told}: {asked} reads {column}, which the query leaves out"
                    for column in sorted(named - set(columns[name]))
                ]
                found[name].append(metric)
    if wrong:
        raise broken(wrong)
    return found
