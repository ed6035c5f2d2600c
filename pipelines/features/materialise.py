"""From the published tables to where features are served: what has changed since the last time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import structlog

from pipelines.errors import LakehouseError
from pipelines.features.rows import rows_of
from pipelines.features.served import Materialised, folder, materialised, remember
from pipelines.features.store import Opened, open_store
from pipelines.lake import lock
from pipelines.lake.duck import connect
from pipelines.settings import Settings

if TYPE_CHECKING:
    from feast import FeatureView

log = structlog.get_logger()


def materialise(settings: Settings) -> dict[str, Materialised]:
    """Serve what is published now; rows that are served already are not written again.

    A correction of the past is a changed row like any other; an entity that has no features any
    more is served without. Ended halfway, it is to be called again.

    Raises:
        LakehouseError: nothing is published yet, Feast is not installed, or another process is
            materialising.
    """
    opened = open_store(settings)
    from feature_store.everything import VIEWS

    with lock.exclusive(folder(settings), "lakehouse features materialize"):
        found = materialised(settings)
        with connect(settings) as connection:
            for view in VIEWS:
                found[view.name] = _serve(settings, opened, connection, view, found.get(view.name))
                remember(settings, found)
    return found


def _serve(
    settings: Settings,
    opened: Opened,
    connection: duckdb.DuckDBPyConnection,
    view: FeatureView,
    before: Materialised | None,
) -> Materialised:
    table = view.tags["table"]
    if table not in opened.manifest.tables:
        raise LakehouseError(f"{table} is not published", "run `lakehouse run` first")
    published = opened.manifest.tables[table]
    path = settings.published / published.path
    _latest(connection, "now", path, published.version, view, opened.end)
    if before is not None and not _is_readable(connection, path, before, view):
        # Maintenance took the version away with which to compare.
        before = None
    if before is None:
        _empty(opened, view)
        rows = connection.execute("from now").to_arrow_table()
    else:
        keys = ", ".join(_keys(view))
        rows = pa.concat_tables([
            connection.execute("from now except from before").to_arrow_table(),
            _without_features(
                connection.execute(
                    f"select {keys} from before except select {keys} from now"
                ).to_arrow_table(),
                connection.execute("from now limit 0").to_arrow_table().schema,
                opened.end,
            ),
        ])  # fmt: skip
    _write(opened, view, rows)
    (entities,) = connection.execute("select count(*) from now").fetchone() or (0,)
    log.info("features served", view=view.name, entities=entities, written=rows.num_rows)
    return Materialised(
        table, published.version, opened.end.isoformat(), int(entities), rows.num_rows
    )


def _latest(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    path: Path,
    version: int,
    view: FeatureView,
    end: datetime,
) -> None:
    """The newest row of each entity that was known at an end and was not too old by then."""
    columns = ", ".join((*_keys(view), *_features(view), "known_at"))
    ttl = view.ttl
    fresh = f"known_at > timestamptz '{(end - ttl).isoformat()}'" if ttl else "true"
    connection.execute(
        f"""create or replace temp table {name} as
            select {columns} from ({rows_of(connection, path, version)}) as published
            where known_at <= timestamptz '{end.isoformat()}' and {fresh}
            qualify row_number() over (
                partition by {", ".join(_keys(view))} order by known_at desc
            ) = 1"""
    )


def _is_readable(
    connection: duckdb.DuckDBPyConnection, path: Path, before: Materialised, view: FeatureView
) -> bool:
    try:
        end = datetime.fromisoformat(before.until)
        _latest(connection, "before", path, before.version, view, end)
    except duckdb.Error as error:
        log.info("served anew", view=view.name, why=str(error))
        return False
    now, then = (
        connection.execute(f"select * from {name} limit 0").to_arrow_table().schema
        for name in ("now", "before")
    )
    return bool(now.equals(then))


def _without_features(keys: pa.Table, schema: pa.Schema, end: datetime) -> pa.Table:
    columns = [
        keys[field.name]
        if field.name in keys.column_names
        else pa.array([end if field.name == "known_at" else None] * keys.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _write(opened: Opened, view: FeatureView, rows: pa.Table) -> None:
    if rows.num_rows == 0:
        return
    import pandas as pd

    # Its public method refuses rows that are all without features. It writes the first chunk of a
    # table and drops the others; and with these types whole numbers stay whole beside nulls.
    provider = opened.store._get_provider()
    provider.ingest_df(view, rows.combine_chunks().to_pandas(types_mapper=pd.ArrowDtype))


def _empty(opened: Opened, view: FeatureView) -> None:
    for gone, kept in (([view], []), ([], [view])):
        opened.store._get_provider().update_infra(
            opened.store.project, gone, kept, [], [], partial=True
        )


def _keys(view: FeatureView) -> Sequence[str]:
    return [str(column.name) for column in view.entity_columns]


def _features(view: FeatureView) -> Sequence[str]:
    return [str(feature.name) for feature in view.features]
