"""The page of a report: one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.lake.publish import Manifest, Published
from pipelines.reports.section import Filled, Frame


def page(
    title: str,
    frame: Frame,
    sections: Sequence[Filled],
    manifest: Manifest,
    tables: Mapping[str, Published],
) -> str:
    """HTML of a report; what stands in the data is escaped.

    Args:
        tables: those that were read, by full name.
    """
    environment = Environment(
        loader=PackageLoader("pipelines.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        title=title,
        frame=frame,
        sections=sections,
        manifest=manifest,
        tables=sorted(tables.items()),
    )
