"""What a dbt build made: each model from the tables that it reads, column by column."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb
import structlog

from pipelines.contract import Contracts
from pipelines.lake.ids import now
from pipelines.lake.tables import raw_schema
from pipelines.lineage import facets, names, store
from pipelines.lineage.columns import NotTraced, Origins, Traced, trace
from pipelines.lineage.events import Dataset, Facets
from pipelines.lineage.facets import Check, Origin
from pipelines.lineage.recording import Finished
from pipelines.settings import EMBEDDED, Settings

log = structlog.get_logger()

_DIALECTS = {EMBEDDED: "duckdb", "trino": "trino", "spark": "spark"}
_BUILT = ("success", "error")
_TESTED = ("pass", "warn", "fail")
# An incremental model's SQL names its increment: it would never be the same twice.
_IDS = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
# As the macro gathered_news calls it.
_GATHERED = "__news"
# What is kept of columns between runs; another number wherever tracing has changed.
_COLUMNS, _TRACER = "columns", 1

Node = Mapping[str, Any]


def parts(results: Sequence[Any], settings: Settings, contracts: Contracts) -> list[Finished]:
    """The building of each model, and the tests of all.

    Args:
        results: dbt's results of nodes, in the order in which they ran.

    Raises:
        OSError, ValueError: dbt's manifest cannot be read.
    """
    manifest = json.loads((settings.state / "dbt" / "manifest.json").read_text(encoding="utf-8"))
    project = _Project(settings, contracts, manifest)
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


class _Project:
    """The tables of a dbt project: their names, their columns, what those come from."""

    def __init__(self, settings: Settings, contracts: Contracts, manifest: Node) -> None:
        self.settings = settings
        self.dialect = _DIALECTS[settings.target]
        self.nodes: Mapping[str, Node] = manifest["nodes"] | manifest["sources"]
        self.schemas = _raw_schemas(contracts) | _built_schemas(settings)
        kept = store.remembered(settings, _COLUMNS) or {}
        self._kept: dict[str, dict[str, Any]] = kept
        self._has_news = False

    def name(self, node: Node) -> str:
        """A model or source as `lakehouse sql` calls it."""
        meta = node["config"].get("meta") or {}
        if node["resource_type"] == "source" and "server" in meta:
            return f"raw.{meta['server']}_{meta['namespace']}_{node['name']}"
        return f"{node['schema']}.{node.get('alias') or node['name']}"

    def inputs(self, node: Node) -> dict[str, str]:
        """The tables that a model reads: how its SQL writes them → their names."""
        read = [self.nodes[one] for one in node["depends_on"]["nodes"] if one in self.nodes]
        return {one["relation_name"]: self.name(one) for one in read if one.get("relation_name")}

    def _gathered(self, node: Node) -> dict[str, str]:
        """The table in which a server gathers the news of a source: it stands for its raw table."""
        sources = [one for one in node["depends_on"]["nodes"] if one.startswith("source.")]
        if self.settings.target == EMBEDDED or len(sources) != 1:
            return {}
        parts = (node["database"], node["schema"], f"{node['alias']}{_GATHERED}")
        relation = ".".join(part for part in parts if part)
        return {relation: self.name(self.nodes[sources[0]])}

    def traced(self, node: Node, compiled: str) -> Traced | None:
        """What the columns of a model come from; None, and a log line, where nobody can tell."""
        name = self.name(node)
        # An increment also reads what is there already.
        relations = self.inputs(node) | self._gathered(node) | {node["relation_name"]: name}
        schemas = {one: self.columns(one) for one in relations.values()}
        content = [_TRACER, self.dialect, _IDS.sub("", compiled), relations]
        content.append({one: list(columns) for one, columns in schemas.items()})
        key = hashlib.sha256(json.dumps(content).encode()).hexdigest()
        kept = self._kept.get(name)
        if kept is not None and kept["key"] == key:
            return _from_json(kept)
        try:
            found = trace(compiled, self.dialect, relations, schemas)
        except NotTraced as error:
            log.warning("no column lineage of a model", model=name, reason=str(error))
            return None
        self._kept[name] = {"key": key, **_as_json(found)}
        self._has_news = True
        return found

    def columns(self, name: str) -> dict[str, str]:
        """Columns of a table and their types, as far as they are known; types may be empty."""
        if name in self.schemas:
            return self.schemas[name]
        # On a server: the queries tell it themselves, one after the other.
        return dict.fromkeys(self._kept.get(name, {}).get("columns", {}), "")

    def remember(self) -> None:
        """Keep what was traced, for the next run."""
        if self._has_news:
            store.remember(self.settings, _COLUMNS, self._kept)


def _raw_schemas(contracts: Contracts) -> dict[str, dict[str, str]]:
    return {
        names.raw_name(table): {field.name: str(field.type) for field in raw_schema(table)}
        for table in contracts.tables
    }


def _built_schemas(settings: Settings) -> dict[str, dict[str, str]]:
    """What stands in the work file; on a server, that is not asked."""
    found: dict[str, dict[str, str]] = {}
    if settings.target != EMBEDDED:
        return found
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        rows = connection.execute(
            "select table_schema || '.' || table_name, column_name, data_type "
            "from information_schema.columns order by 1, ordinal_position"
        ).fetchall()
    for name, column, kind in rows:
        found.setdefault(name, {})[column] = kind
    return found


def _model(result: Any, project: _Project) -> Finished:
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


def _about(node: Node, name: str, traced: Traced | None, project: _Project) -> Facets:
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
        found["symlinks"] = facets.location(*names.place(project.settings.warehouse))
    else:
        found["symlinks"] = facets.location(*_server_place(node, project.settings))
    return found


def _server_place(node: Node, settings: Settings) -> tuple[str, str]:
    host, port = (
        getattr(settings, f"{settings.target}_host"),
        getattr(settings, f"{settings.target}_port"),
    )
    place = [part for part in (node["database"], node["schema"], node["alias"]) if part]
    return f"{settings.target}://{host}:{port}", ".".join(place)


def _column_lineage(
    name: str, columns: Mapping[str, str], traced: Traced, project: _Project
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


def _about_job(node: Node, compiled: str, project: _Project) -> Facets:
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


def _tested(results: Sequence[Any], project: _Project) -> Finished | None:
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


def _tests_of(result: Any, project: _Project) -> Iterator[_Test]:
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


def _as_json(traced: Traced) -> dict[str, Any]:
    def plain(origins: Origins) -> list[Any]:
        return [[*origin, sorted(ways)] for origin, ways in origins.items()]

    columns = {name: plain(origins) for name, origins in traced.columns.items()}
    return {"columns": columns, "rows": plain(traced.rows)}


def _from_json(kept: Mapping[str, Any]) -> Traced:
    def origins(plain: list[Any]) -> Origins:
        return {(table, column): set(ways) for table, column, ways in plain}

    columns = {name: origins(plain) for name, plain in kept["columns"].items()}
    return Traced(columns, origins(kept["rows"]))
