"""What a dbt build made: each model from the tables that it reads, column by column."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb

from pipelines.contract import Contracts
from pipelines.lake.ids import now
from pipelines.lineage import facets
from pipelines.lineage.columns import Origins, Traced
from pipelines.lineage.events import Dataset, Facets
from pipelines.lineage.facets import Check, Origin
from pipelines.lineage.project import Node, Project
from pipelines.lineage.recording import Finished
from pipelines.settings import EMBEDDED, Settings

_BUILT = ("success", "error")
_TESTED = ("pass", "warn", "fail")


def parts(results: Sequence[Any], settings: Settings, contracts: Contracts) -> list[Finished]:
    """The building of each model, and the tests of all.

    Args:
        results: dbt's results of nodes, in the order in which they ran.

    Raises:
        OSError, ValueError: dbt's manifest cannot be read.
    """
    manifest = json.loads((settings.state / "dbt" / "manifest.json").read_text(encoding="utf-8"))
    project = Project(settings, contracts, manifest)
    models = [
        result
        for result in results
        if result.node.resource_type == "model"
        and result.node.config.materialized != "ephemeral"
        and str(result.status) in _BUILT
    ]
    found = [_model(result, project) for result in models]
    project.remember()
    tested = _tested(results, project)
    return [*found, *([tested] if tested else [])]


def _model(result: Any, project: Project) -> Finished:
    node, settings = project.nodes[result.node.unique_id], project.settings
    name, namespace = project.name(node), settings.lineage_namespace
    compiled = result.node.compiled_code or ""
    traced = project.traced(node, compiled) if compiled else None
    rows = (result.adapter_response or {}).get("rows_affected")
    written = (
        {"outputStatistics": facets.rows_written(rows)}
        if isinstance(rows, int) and rows >= 0
        else {}
    )
    began, ended = _times(result)
    failed = str(result.status) == "error"
    return Finished(
        job=f"build.{name}",
        began=began,
        ended=ended,
        inputs=[Dataset(namespace, one) for one in sorted(set(project.inputs(node).values()))],
        outputs=[Dataset(namespace, name, _about(node, name, traced, project), written)],
        error=" ".join(str(result.message).split()) if failed else None,
        job_facets=_about_job(node, compiled, project),
        run_facets=_engine(settings),
    )


def _times(result: Any) -> tuple[datetime, datetime]:
    """When a node began and ended, UTC."""
    told = [time for time in result.timing or [] if time.started_at and time.completed_at]
    if not told:
        return now(), now()
    began, ended = told[0].started_at, told[-1].completed_at
    return _in_utc(began), _in_utc(ended)


def _in_utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _about(node: Node, name: str, traced: Traced | None, project: Project) -> Facets:
    described = {k.lower(): v.get("description", "") for k, v in node["columns"].items()}
    types = {k: v.get("data_type") or "" for k, v in node["columns"].items()}
    columns = project.columns(name) or types
    columns = {column: kind or types.get(column, "") for column, kind in columns.items()}
    descriptions = {column: described.get(column.lower(), "") for column in columns}
    found: dict[str, facets.Facet] = {"schema": facets.schema(columns, descriptions)}
    if node["description"]:
        found["documentation"] = facets.dataset_documentation(node["description"])
    if owner := _owner(node):
        found["ownership"] = facets.dataset_owner(owner)
    if traced:
        found["columnLineage"] = _column_lineage(name, columns, traced, project)
    if project.settings.target == EMBEDDED:
        found["storage"] = facets.storage("duckdb")
        found["dataSource"] = facets.data_source("duckdb", project.settings.warehouse.as_uri())
    else:
        found["symlinks"] = facets.location(*_server_place(node, project.settings))
    return found


def _server_place(node: Node, settings: Settings) -> tuple[str, str]:
    host = getattr(settings, f"{settings.target}_host")
    port = getattr(settings, f"{settings.target}_port")
    place = [part for part in (node["database"], node["schema"], node["alias"]) if part]
    return f"{settings.target}://{host}:{port}", ".".join(place)


def _column_lineage(
    name: str, columns: Mapping[str, str], traced: Traced, project: Project
) -> facets.Facet:
    """In the spelling of the tables, which the queries need not keep to."""
    spelt = {column.lower(): column for column in columns}
    spellings: dict[str, dict[str, str]] = {}

    def origins(found: Origins) -> list[Origin]:
        told = []
        for (table, column), ways in sorted(found.items()):
            if table == name:
                # What an increment finds there came the same way.
                continue
            if table not in spellings:
                spellings[table] = {known.lower(): known for known in project.columns(table)}
            own = spellings[table].get(column)
            if own is None:
                # Made on the way, in a table that the query reads in its place.
                continue
            namespace = project.settings.lineage_namespace
            told.append(Origin(namespace, table, own, tuple(sorted(ways))))
        return told

    fields = {spelt.get(column, column): origins(found) for column, found in traced.columns.items()}
    return facets.column_lineage(fields, origins(traced.rows))


def _about_job(node: Node, compiled: str, project: Project) -> Facets:
    found: dict[str, facets.Facet] = {"jobType": facets.job_type("DBT", "MODEL")}
    if compiled:
        found["sql"] = facets.sql(compiled.strip(), project.dialect)
    if node["description"]:
        found["documentation"] = facets.job_documentation(node["description"])
    if owner := _owner(node):
        found["ownership"] = facets.job_owner(owner)
    return found


def _owner(node: Node) -> str | None:
    owner = (node["config"].get("meta") or {}).get("owner")
    return str(owner) if owner else None


def _engine(settings: Settings) -> Facets:
    """Of a server, nobody has asked the version."""
    if settings.target != EMBEDDED:
        return {}
    return {"processing_engine": facets.engine("duckdb", duckdb.__version__)}


@dataclass(frozen=True)
class _Test:
    table: str
    check: Check


def _tested(results: Sequence[Any], project: Project) -> Finished | None:
    """All data tests, as one job that reads the tables which they are of."""
    ran = [
        result
        for result in results
        if result.node.resource_type == "test" and str(result.status) in _TESTED
    ]
    checks: dict[str, list[Check]] = {}
    for result in ran:
        for test in _tests_of(result, project):
            checks.setdefault(test.table, []).append(test.check)
    if not checks:
        return None
    times = [time for result in ran for time in _times(result)]
    failed = [str(result.node.name) for result in ran if str(result.status) == "fail"]
    namespace = project.settings.lineage_namespace
    return Finished(
        job="build.tests",
        began=min(times),
        ended=max(times),
        inputs=[
            Dataset(namespace, table, of_run={"dataQualityAssertions": facets.assertions(told)})
            for table, told in sorted(checks.items())
        ],
        error=f"failed: {', '.join(failed)}" if failed else None,
        job_facets={"jobType": facets.job_type("DBT", "TEST")},
        run_facets=_engine(project.settings),
    )


def _tests_of(result: Any, project: Project) -> Iterator[_Test]:
    """One for each table that a test names; a relationship's other table is none of them."""
    node = project.nodes[result.node.unique_id]
    attached = node.get("attached_node")
    tables = [attached] if attached else node["depends_on"]["nodes"]
    generic = (node.get("test_metadata") or {}).get("name")
    check = Check(
        rule=generic or node["name"],
        success=str(result.status) == "pass",
        column=node.get("column_name"),
        severity=str(node["config"].get("severity", "error")).lower(),
        description=node.get("description") or None,
    )
    for one in tables:
        if one in project.nodes:
            yield _Test(project.name(project.nodes[one]), check)
