"""Where the columns of tables come from, by the SQL of models that dbt has compiled."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from pipelines.contract import Contracts
from pipelines.lineage.columns import Origins, Traced
from pipelines.lineage.facets import DIRECT
from pipelines.lineage.names import raw_name
from pipelines.lineage.project import Project
from pipelines.settings import Settings

_RAW = "raw."


@dataclass
class Lineage:
    """The columns of all models, back to the sources.

    Attributes:
        traced: table → its columns' origins.
        topics: raw table → the source table that lands there, `shop.public.sale`.
        reads: table → the tables that its SQL reads.
    """

    traced: dict[str, Traced] = field(default_factory=dict)
    topics: dict[str, str] = field(default_factory=dict)
    reads: dict[str, set[str]] = field(default_factory=dict)

    def step(self, table: str, column: str) -> Origins:
        """What a column comes from directly: values that go into it, else what decides it."""
        traced = self.traced.get(table)
        return _deciding(traced.columns.get(column.lower(), {}), table) if traced else {}

    def sources(self, table: str, column: str) -> dict[str, list[str]]:
        """Source table → its columns that a column comes from in the end."""
        found: dict[str, set[str]] = {}
        waiting, seen = [(table, column.lower())], set()
        while waiting:
            at = waiting.pop()
            if at in seen:
                continue
            seen.add(at)
            if at[0].startswith(_RAW):
                found.setdefault(self.topics.get(at[0], at[0]), set()).add(at[1])
            waiting += self.step(*at)
        return {name: sorted(columns) for name, columns in sorted(found.items())}

    def landed_from(self, table: str) -> list[str]:
        """The raw tables that a table is made of, over all steps."""
        found, waiting, seen = set(), [table], set()
        while waiting:
            at = waiting.pop()
            if at in seen:
                continue
            seen.add(at)
            if at.startswith(_RAW):
                found.add(at)
            waiting += self.reads.get(at, ())
        return sorted(found)


def lineage(settings: Settings, contracts: Contracts) -> Lineage:
    """Trace the columns of all models of a project that dbt has documented in this home.

    Raises:
        OSError, ValueError: dbt's manifest cannot be read.
    """
    file = settings.state / "dbt" / "manifest.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    project = Project(settings, contracts, manifest)
    found = Lineage(topics={raw_name(table): table.topic for table in contracts.tables})
    depends = {
        name: node["depends_on"]["nodes"]
        for name, node in manifest["nodes"].items()
        if node["resource_type"] == "model"
    }
    # The columns of a model are known to those that read it once it has been traced itself.
    for name in TopologicalSorter(depends).static_order():
        if name not in depends:
            continue
        node = manifest["nodes"][name]
        table = project.name(node)
        found.reads[table] = set(project.inputs(node).values())
        traced = project.traced(node, node["compiled_code"])
        if traced is not None:
            found.traced[table] = traced
    return found


def _deciding(origins: Origins, table: str) -> Origins:
    others = {at: ways for at, ways in origins.items() if at[0] != table}
    direct = {at: ways for at, ways in others.items() if not ways.isdisjoint(DIRECT)}
    return direct or others
