"""The data dictionary: what dbt, contracts, gates, metrics and dashboards tell of each table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from pipelines.contract import Contracts, load_contracts
from pipelines.dashboards import assets
from pipelines.dashboards.models import Model, models_of
from pipelines.dbt_project import Project
from pipelines.docs_site.bookkeeping import bookkeeping
from pipelines.docs_site.origins import Lineage, lineage
from pipelines.docs_site.usage import Usage, usage
from pipelines.lineage.columns import Origins
from pipelines.quality import promises
from pipelines.quality.suites import load_suites
from pipelines.semantics import MANIFEST, Metric, Semantics
from pipelines.settings import Settings

_REF = re.compile(r"ref\('(\w+)'\)")


@dataclass(frozen=True)
class Reference:
    """A column whose values another table has.

    Attributes:
        is_strict: whether a value that is missing there fails the build, or is only told.
    """

    column: str
    table: str
    field: str
    is_strict: bool


@dataclass(frozen=True)
class Column:
    """A column of a published table.

    Attributes:
        checks: in words.
        step: the columns that it comes from directly.
        sources: source table → its columns that it comes from in the end.
        charts: dashboard and chart that show it.
    """

    name: str
    type: str
    description: str
    checks: tuple[str, ...]
    step: Origins
    sources: Mapping[str, list[str]]
    charts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """A published table.

    Attributes:
        name: `<schema>.<table>`.
        key: columns that identify a row; empty where no test says so.
        checks: data tests of the table as a whole, in words.
        rules: of the gate, beside what the contract promises; name and severity.
        cases: unit tests of its logic; name and what they show.
        reads: tables that its SQL reads.
        read_by: published tables whose SQL reads it.
        fresh_within: source table → how old its last landing may be; None: not told.
        file: of its SQL, in the repository; None where dbt does not build it.
    """

    name: str
    description: str
    owner: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    references: tuple[Reference, ...] = ()
    materialised: str = ""
    checks: tuple[str, ...] = ()
    rules: tuple[tuple[str, str], ...] = ()
    cases: tuple[tuple[str, str], ...] = ()
    metrics: tuple[Metric, ...] = ()
    reads: tuple[str, ...] = ()
    read_by: tuple[str, ...] = ()
    fresh_within: Mapping[str, timedelta | None] = field(default_factory=dict)
    file: str | None = None

    @property
    def schema(self) -> str:
        return self.name.partition(".")[0]

    @property
    def short(self) -> str:
        return self.name.partition(".")[2]

    @property
    def charts(self) -> dict[str, list[str]]:
        """Dashboard → its charts that show a column of it."""
        found: dict[str, list[str]] = {}
        for column in self.columns:
            for dashboard, chart in column.charts:
                shown = found.setdefault(dashboard, [])
                if chart not in shown:
                    shown.append(chart)
        return found


@dataclass(frozen=True)
class _Told:
    """All that is known of the project, for one table after the other."""

    models: Mapping[str, Model]
    promised: Mapping[str, promises.Model]
    rules: Mapping[str, tuple[tuple[str, str], ...]]
    tests: Mapping[str, list[Any]]
    cases: Mapping[str, tuple[tuple[str, str], ...]]
    lineage: Lineage
    usage: Usage
    semantics: Semantics
    fresh_within: Mapping[str, timedelta | None]
    places: Mapping[str, str]


def dictionary(settings: Settings, project: Project, root: Path) -> dict[str, Table]:
    """Every published table, by `<schema>.<table>`.

    Args:
        project: parsed, and documented in the home of the settings.
        root: of the repository, where rules and dashboards lie.

    Raises:
        LakehouseError: contracts, rules or dashboards are wrong.
        KeyError: nobody has said what a column of the bookkeeping means.
    """
    manifest = project.manifest
    contracts = load_contracts(settings.project_dir)
    promised = promises.models(manifest)
    models = models_of(manifest)
    semantics = Semantics.read(settings.state / "dbt" / MANIFEST)
    told = _Told(
        models=models,
        promised=promised,
        rules=_rules(root / "expectations", promised),
        tests=_tests(manifest),
        cases=_cases(manifest),
        lineage=lineage(settings, contracts),
        usage=usage(assets.read(root / "infra" / "superset" / "assets"), models, semantics),
        semantics=semantics,
        fresh_within=_fresh_within(contracts),
        places={node.name: f"{node.schema}.{node.name}" for node in _of(manifest, "model")},
    )
    nodes = {f"{node.schema}.{node.name}": node for node in _of(manifest, "model")}
    found = {name: _table(name, nodes[name], told) for name in sorted(set(models) & set(nodes))}
    for name, model in bookkeeping().items():
        columns = tuple(_column(name, column, (), told, model) for column in model.columns)
        found[name] = Table(name, model.description, model.owner, (), columns)
    return found


def _table(name: str, node: Any, told: _Told) -> Table:
    model, tests = told.models[name], told.tests.get(node.unique_id, [])
    references = tuple(
        Reference(
            test.column_name,
            told.places[_referred(test.test_metadata.kwargs)],
            test.test_metadata.kwargs["field"],
            str(test.config.severity).lower() != "warn",
        )
        for test in tests
        if test.column_name and test.test_metadata.name == "relationships"
    )
    raw = told.lineage.landed_from(name)
    return Table(
        name=name,
        description=model.description,
        owner=model.owner,
        key=told.promised[name].key,
        columns=tuple(_column(name, column, tests, told, model) for column in model.columns),
        references=references,
        materialised=str(node.config.materialized),
        checks=tuple(_in_words(test) for test in tests if not test.column_name),
        rules=told.rules.get(name, ()),
        cases=told.cases.get(node.name, ()),
        metrics=tuple(told.semantics.metrics_of(name)),
        reads=tuple(sorted(told.lineage.reads.get(name, ()))),
        read_by=tuple(
            sorted(other for other in told.models if name in told.lineage.reads.get(other, ()))
        ),
        fresh_within={
            told.lineage.topics[each]: told.fresh_within[each]
            for each in raw
            if each in told.fresh_within
        },
        file=f"dbt_project/{node.original_file_path}",
    )


def _column(
    table: str, name: str, tests: list[Any] | tuple[()], told: _Told, model: Model
) -> Column:
    column = model.columns[name]
    return Column(
        name=name,
        type=column.type,
        description=column.description,
        checks=tuple(_in_words(test) for test in tests if test.column_name == name),
        step=told.lineage.step(table, name),
        sources=told.lineage.sources(table, name),
        charts=tuple(told.usage.get(table, {}).get(name, ())),
    )


def _referred(kwargs: Mapping[str, Any]) -> str:
    """The model that a reference is to."""
    return _REF.sub(lambda match: match[1], kwargs["to"])


def _values(kwargs: Mapping[str, Any]) -> str:
    return "one of " + ", ".join(f"`{value}`" for value in kwargs["values"])


def _combined(kwargs: Mapping[str, Any]) -> str:
    return "unique together: " + ", ".join(f"`{column}`" for column in kwargs["columns"])


_WORDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "not_null": lambda kwargs: "never empty",
    "unique": lambda kwargs: "unique",
    "accepted_values": _values,
    "unique_combination": _combined,
    "relationships": lambda kwargs: f"found in `{_referred(kwargs)}.{kwargs['field']}`",
}


def _in_words(test: Any) -> str:
    kind, kwargs = str(test.test_metadata.name), test.test_metadata.kwargs
    words = _WORDS[kind](kwargs) if kind in _WORDS else kind.replace("_", " ")
    return f"{words} (else told)" if str(test.config.severity).lower() == "warn" else words


def _of(manifest: Any, kind: str) -> list[Any]:
    return [node for node in manifest.nodes.values() if str(node.resource_type) == kind]


def _tests(manifest: Any) -> dict[str, list[Any]]:
    """Data tests of models, by the model's id; those that are queries of their own are left out."""
    found: dict[str, list[Any]] = {}
    for test in _of(manifest, "test"):
        if getattr(test, "test_metadata", None) and test.attached_node:
            found.setdefault(test.attached_node, []).append(test)
    return found


def _cases(manifest: Any) -> dict[str, tuple[tuple[str, str], ...]]:
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for case in manifest.unit_tests.values():
        told = (case.name.replace("_", " "), " ".join((case.description or "").split()))
        found[case.model] = (*found.get(case.model, ()), told)
    return found


def _rules(
    folder: Path, promised: Mapping[str, promises.Model]
) -> dict[str, tuple[tuple[str, str], ...]]:
    return {
        suite.model.full_name: tuple(
            (rule.name, rule.severity) for rule in suite.rules if rule not in suite.model.promised
        )
        for suite in load_suites(folder, promised)
    }


def _fresh_within(contracts: Contracts) -> dict[str, timedelta | None]:
    return {f"raw.{table.sql_name}": table.fresh_within for table in contracts.tables}
