"""The pages of the data dictionary, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.docs_site.dictionary import Table
from pipelines.docs_site.relations import as_mermaid, as_svg
from pipelines.lineage.columns import Origins

_FOLDER = "dictionary"
_WAYS = {"AGGREGATION": "aggregated", "TRANSFORMATION": "computed", "IDENTITY": "unchanged"}
_SCHEMAS = {
    "marts": "What happened, tested, for everybody.",
    "features": "What models learn from.",
    "predictions": "What models say, and how well they said it before.",
    "quality": "What the gates found. No part of a publication: they tell why there is none.",
}


def pages(tables: Mapping[str, Table]) -> dict[str, str]:
    """All pages of the dictionary, the picture and its source among them, by their place."""
    environment = Environment(
        loader=PackageLoader("pipelines.docs_site"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701  Markdown, of the project's own texts; cells are made safe.
    )
    environment.filters |= {"cell": _cell, "how": _how, "age": _age, "grain": grain}
    by_schema = {
        schema: [table for table in tables.values() if table.schema == schema]
        for schema in _SCHEMAS
    }
    found = {
        f"{_FOLDER}/{table.schema}/{table.short}.md": environment.get_template(
            "table.md.j2"
        ).render(table=table, tables=tables)
        for table in tables.values()
    }
    found[f"{_FOLDER}/index.md"] = environment.get_template("index.md.j2").render(
        by_schema=by_schema, about=_SCHEMAS
    )
    svg, mermaid = as_svg(tables), as_mermaid(tables)
    found[f"{_FOLDER}/relations.md"] = environment.get_template("relations.md.j2").render(
        svg=svg, mermaid=mermaid
    )
    found[f"{_FOLDER}/relations.svg"] = svg
    found[f"{_FOLDER}/relations.mmd"] = mermaid
    found[f"{_FOLDER}/dbt.md"] = environment.get_template("dbt.md.j2").render()
    return found


def grain(description: str) -> str:
    """The first sentence of a description: what a row is."""
    first, dot, _ = description.partition(". ")
    return first + dot.strip()


def _cell(text: str) -> str:
    """Text in a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _how(step: Origins) -> str:
    """How values get into a column from those of a step."""
    ways = {way for each in step.values() for way in each}
    direct = next((_WAYS[way] for way in _WAYS if way in ways), None)
    return direct or "only decided by"


def _age(limit: timedelta) -> str:
    hours = limit.total_seconds() / 3600
    return f"{hours / 24:g} days" if hours > 24 else f"{hours:g} hours"
