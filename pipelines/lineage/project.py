"""The tables of a dbt project: their names, their columns, and what those come from."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import duckdb
import structlog

from pipelines.contract import Contracts
from pipelines.lake.tables import raw_schema
from pipelines.lineage import names, store
from pipelines.lineage.columns import NotTraced, Origins, Traced, trace
from pipelines.settings import EMBEDDED, Settings

log = structlog.get_logger()

_DIALECTS = {EMBEDDED: "duckdb", "trino": "trino", "spark": "spark"}
# An incremental model's SQL names its increment: it would never be the same twice.
_IDS = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
# As the macro gathered_news calls it.
_GATHERED = "__news"
# What is kept of columns between runs; another number wherever tracing has changed.
_COLUMNS, _TRACER = "columns", 1

Node = Mapping[str, Any]


class Project:
    """What dbt's manifest, the contracts and the work file tell, and the SQL of the models.

    Args:
        manifest: dbt's manifest.json.
    """

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
        # Without the prefix that a server's schemas may have: a table is one, wherever it is built.
        schema = node["config"].get("schema") or node["schema"]
        return f"{schema}.{node.get('alias') or node['name']}"

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
