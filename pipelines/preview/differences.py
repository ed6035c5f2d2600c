"""The tables that were built beside, against those that readers see."""

from __future__ import annotations

from pipelines.lake.duck import connect
from pipelines.lake.publish import PUBLICATION
from pipelines.lake.shown import make_readable
from pipelines.lake.sql import literal
from pipelines.preview.build import Preview
from pipelines.preview.diff import TableDiff, compare, count
from pipelines.settings import Settings

_BESIDE = "beside"


def differences(settings: Settings, preview: Preview, examples: int) -> list[TableDiff]:
    """How each table that readers would see differs from what they see now, and what goes.

    Args:
        settings: of the lake.
        examples: so many rows of each kind of difference are shown.
    """
    published = {
        name: table for name, table in preview.published.tables.items() if name != PUBLICATION
    }
    found = []
    with connect(settings) as connection:
        if preview.tables:
            place = literal(str(preview.settings.warehouse))
            connection.execute(f"attach {place} as {_BESIDE} (read_only)")
        for model in preview.tables:
            name = model.relation
            after = f'{_BESIDE}."{model.schema}"."{model.name}"'
            if name not in published:
                rows = count(connection, after)
                found.append(TableDiff(name, "new", list(model.key), None, rows, added=rows))
                continue
            make_readable(connection, settings, name, published[name])
            before = f'memory."{model.schema}"."{model.name}"'
            found.append(compare(connection, name, before, after, model.key, examples))
    for name in preview.gone:
        rows = published[name].rows
        found.append(TableDiff(name, "gone", [], rows, None, removed=rows))
    return found
