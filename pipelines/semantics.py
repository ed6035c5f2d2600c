"""The metrics of dbt's semantic models, as SQL over the columns of one model.

dbt writes what it knows of them to semantic_manifest.json, whenever it parses the project.
MetricFlow makes whole queries of it; who draws charts over one table needs but the aggregates.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlglot
from sqlglot import exp

from pipelines.errors import LakehouseError

MANIFEST = "semantic_manifest.json"
# As MetricFlow writes them, so that no rows give the same: nothing, not zero, where it adds up.
_AGGREGATES = {
    "sum": "sum({})",
    "min": "min({})",
    "max": "max({})",
    "average": "avg({})",
    "count": "sum(case when {} is not null then 1 else 0 end)",
    "count_distinct": "count(distinct {})",
    "sum_boolean": "sum(case when {} then 1 else 0 end)",
}
# In the notation of d3, which Superset reads; what is counted has no decimals.
_FORMATS = {"USD": "$,.2f", "share": ".1%", "days": ",.1f"}
_COUNTED = ",.0f"
# Of a semantic model's config.meta: models that hold the sums of its columns under the same names.
_ROLLED_UP_IN = "rolled_up_in"


@dataclass(frozen=True)
class Metric:
    """What a metric is, and how a model tells it.

    Attributes:
        models: names of the models that it is defined on; one, or it has no expression.
        model: the one that the expression is for.
        expression: aggregates of that model's columns, alike on DuckDB, Trino and Spark.
        reason: why there is no expression; empty where there is one.
        unit: USD, share (0 to 1), days, or what is counted.
        format: of the value, in the notation of d3.
    """

    name: str
    label: str
    description: str
    owner: str
    unit: str
    format: str
    models: tuple[str, ...]
    model: str
    expression: str | None
    reason: str = ""


@dataclass(frozen=True)
class _Measure:
    """An aggregate, and where it holds."""

    model: str
    aggregate: str
    expression: str
    is_additive: bool
    rolled_up_in: tuple[str, ...]

    @property
    def is_sum_of_a_column(self) -> bool:
        return self.aggregate == "sum" and self.expression.isidentifier()


class _NotExpressible(Exception):
    """A metric is more than aggregates of one model; the text says why."""


class Semantics:
    """The metrics of a project.

    Args:
        manifest: dbt's semantic_manifest.json.
    """

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        self._manifest = manifest
        self._metrics = {metric["name"]: metric for metric in manifest["metrics"]}
        self._measures = {
            measure["name"]: _Measure(
                model=_model_of(semantic_model),
                aggregate=measure["agg"],
                expression=_expression_of(measure),
                is_additive=measure["non_additive_dimension"] is None,
                rolled_up_in=tuple(_meta(semantic_model).get(_ROLLED_UP_IN, ())),
            )
            for semantic_model in manifest["semantic_models"]
            for measure in semantic_model["measures"]
        }

    @classmethod
    def read(cls, file: Path) -> Semantics:
        """Read what dbt has written.

        Raises:
            LakehouseError: it has not.
        """
        if not file.is_file():
            raise LakehouseError(
                f"there is no {file}",
                "dbt writes it: `lakehouse run`, or `dbt parse` in the project",
            )
        return cls(json.loads(file.read_text(encoding="utf-8")))

    def metrics(self) -> list[Metric]:
        """All metrics, each on the model that it is defined on, by model and name."""
        told = [self._told(name, self._models_of(name)[0]) for name in self._metrics]
        return sorted(told, key=lambda metric: (metric.model, metric.name))

    def metrics_of(self, model: str) -> list[Metric]:
        """The metrics that concern a model, by name: defined on it, or on one that it sums up.

        Args:
            model: its name; a schema before it is passed over, for it depends on the target.
        """
        name = model.rpartition(".")[2]
        return sorted(
            (self._told(each, name) for each in self._metrics if name in self._concerned(each)),
            key=lambda metric: metric.name,
        )

    def missing_columns(self, columns: Mapping[str, Collection[str]]) -> list[str]:
        """What metrics, dimensions and keys read, and the models do not have.

        Args:
            columns: model → its columns.

        Returns:
            A sentence for each.
        """
        return [
            f"{what}: {model} has no column {column}"
            for what, model, expression in sorted(self._read())
            for column in sorted(columns_of(expression) - set(columns.get(model, ())))
        ]

    def _read(self) -> Iterator[tuple[str, str, str]]:
        """What reads which model by which expression."""
        for name in self._metrics:
            for measure in self._measures_of(name):
                yield f"metric {name}", measure.model, measure.expression
                for model in measure.rolled_up_in if measure.is_sum_of_a_column else ():
                    yield f"metric {name}", model, measure.expression
        for semantic_model in self._manifest["semantic_models"]:
            for kind, told in (("dimension", "dimensions"), ("entity", "entities")):
                for each in semantic_model[told]:
                    what = f"{kind} {each['name']} of {semantic_model['name']}"
                    yield what, _model_of(semantic_model), _expression_of(each)

    def _measures_of(self, name: str) -> list[_Measure]:
        # dbt tells them with every metric, also those of the metrics that it is made of.
        inputs = self._metrics[name]["type_params"]["input_measures"]
        return [self._measures[each["name"]] for each in inputs]

    def _models_of(self, name: str) -> list[str]:
        return list(dict.fromkeys(measure.model for measure in self._measures_of(name)))

    def _concerned(self, name: str) -> set[str]:
        measures = self._measures_of(name)
        return {each.model for each in measures}.union(*(each.rolled_up_in for each in measures))

    def _told(self, name: str, model: str) -> Metric:
        metric, models = self._metrics[name], self._models_of(name)
        expression, reason = None, ""
        try:
            if len(models) > 1:
                raise _NotExpressible(f"it needs {len(models)} models: {', '.join(models)}")
            expression = self._expression(name, model)
        except _NotExpressible as why:
            reason = str(why)
        unit = _meta(metric).get("unit", "")
        return Metric(
            name=name,
            label=metric["label"] or name,
            description=metric["description"] or "",
            owner=_meta(metric).get("owner", ""),
            unit=unit,
            format=_FORMATS.get(unit, _COUNTED),
            models=tuple(models),
            model=model,
            expression=expression,
            reason=reason,
        )

    def _expression(self, name: str, model: str) -> str:
        metric = self._metrics[name]
        kind, parameters = metric["type"], metric["type_params"]
        _refuse_filter(name, metric)
        if kind == "simple":
            return self._aggregate(name, parameters["measure"], model)
        if kind == "ratio":
            upper = self._input(name, parameters["numerator"], model)
            lower = self._input(name, parameters["denominator"], model)
            # As whole numbers, Trino would cut the fraction off.
            return f"cast({upper} as double) / nullif({lower}, 0)"
        if kind == "derived":
            parts = {
                each["alias"] or each["name"]: self._input(name, each, model)
                for each in parameters["metrics"]
            }
            return _substituted(parameters["expr"], parts)
        raise _NotExpressible(f"{name} is {kind}: a row counts for other days than its own")

    def _input(self, name: str, told: Mapping[str, Any], model: str) -> str:
        _refuse_filter(name, told)
        if told["offset_window"] or told["offset_to_grain"]:
            raise _NotExpressible(f"{name} looks at other days, too")
        return self._expression(told["name"], model)

    def _aggregate(self, name: str, told: Mapping[str, Any], model: str) -> str:
        measure = self._measures[told["name"]]
        _refuse_filter(name, told)
        if told["fill_nulls_with"] is not None or told["join_to_timespine"]:
            raise _NotExpressible(f"{name} fills days without rows")
        if not measure.is_additive:
            raise _NotExpressible(f"{name} must not be added up over time")
        if measure.aggregate not in _AGGREGATES:
            raise _NotExpressible(
                f"{name} is a {measure.aggregate}, which engines tell differently"
            )
        if model != measure.model and not measure.is_sum_of_a_column:
            raise _NotExpressible(f"{name} is no sum of a column, which {model} could hold")
        return _AGGREGATES[measure.aggregate].format(measure.expression)


def columns_of(expression: str) -> set[str]:
    """The columns that an SQL expression reads."""
    return {column.name for column in sqlglot.parse_one(expression).find_all(exp.Column)}


def _refuse_filter(name: str, told: Mapping[str, Any]) -> None:
    if told["filter"]:
        templates = [each["where_sql_template"] for each in told["filter"]["where_filters"]]
        raise _NotExpressible(f"{name} is filtered by dimensions: {' and '.join(templates)}")


def _substituted(expression: str, parts: Mapping[str, str]) -> str:
    """The expression, each name in it replaced by what it stands for."""

    def replaced(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Column):
            return exp.paren(sqlglot.parse_one(parts[node.name]))
        return node

    return sqlglot.parse_one(expression).transform(replaced).sql(normalize_functions="lower")


def _model_of(semantic_model: Mapping[str, Any]) -> str:
    return str(semantic_model["node_relation"]["alias"])


def _expression_of(element: Mapping[str, Any]) -> str:
    return str(element["expr"] or element["name"])


def _meta(element: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (element["config"] or {}).get("meta") or {}
    return found
