"""From the published tables to where features are served: what has changed since the last time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import structlog

from pipelines.errors import LakehouseError, Unavailable
from pipelines.features.rows import KNOWN_AT, Tables, instant, keys_of_view, rows_of, schema_of
from pipelines.features.served import Materialised, folder, materialised, remember
from pipelines.features.store import Opened, open_store, tables_of
from pipelines.lake import lock
from pipelines.settings import Settings

if TYPE_CHECKING:
    from feast import FeatureView

log = structlog.get_logger()

# So many rows are on their way at once: Feast makes objects of each value.
_ROWS = 20_000


def materialise(settings: Settings) -> dict[str, Materialised]:
    """Serve what is published now; rows that are served already are not written again.

    A correction of the past is a changed row like any other; an entity that has no features any
    more is served without. Ended halfway, it is to be called again: the view that was being
    written is then written anew.

    Raises:
        Unavailable: another process is materialising, or a server does not answer.
        LakehouseError: nothing is published yet, or Feast is not installed.
    """
    opened = open_store(settings)
    from feature_store.everything import VIEWS

    with lock.exclusive(folder(settings), "lakehouse features materialize"):
        found = materialised(settings)
        with tables_of(settings, opened.manifest) as tables:
            for view in VIEWS:
                serving = _Serving(settings, opened, tables, view)
                found[view.name] = serving.serve(found)
                remember(settings, found)
    return found


class _Serving:
    """One view, from one published version."""

    def __init__(
        self, settings: Settings, opened: Opened, tables: Tables, view: FeatureView
    ) -> None:
        self._settings, self._opened, self._tables, self._view = settings, opened, tables, view
        self._table = view.tags["table"]
        if self._table not in opened.manifest.tables:
            raise LakehouseError(f"{self._table} is not published", "run `lakehouse run` first")
        self._version = opened.manifest.tables[self._table].version
        self._schema = schema_of(view)

    def serve(self, found: dict[str, Materialised]) -> Materialised:
        """Write what differs from what is served; what is served is forgotten meanwhile."""
        before = found.get(self._view.name)
        told = (self._table, self._version, self._opened.end.isoformat())
        if before is not None and told == (before.table, before.version, before.until):
            return replace(before, written=0)
        now = self._tables.hold("now", self._latest(self._version, self._opened.end))
        rows = None if before is None else self._changed(now, before)
        if rows is None:
            rows = self._tables.fetch(f"select * from {now}", self._schema)
            entities = rows.num_rows
            self._forget(found)
            self._empty()
        else:
            entities = self._count(now)
            if rows.num_rows:
                self._forget(found)
        self._write(rows)
        log.info("features served", view=self._view.name, entities=entities, written=rows.num_rows)
        return Materialised(*told, entities, rows.num_rows)

    def _forget(self, found: dict[str, Materialised]) -> None:
        """Who fails amid writing does not know what is served."""
        kept = {name: told for name, told in found.items() if name != self._view.name}
        remember(self._settings, kept)

    def _count(self, now: str) -> int:
        schema = pa.schema([("entities", pa.int64())])
        counted = self._tables.fetch(f"select count(*) as entities from {now}", schema)
        return int(counted["entities"][0].as_py())

    def _latest(self, version: int, end: datetime) -> str:
        """The newest row of each entity that was known at an end and was not too old by then."""
        columns = ", ".join(self._schema.names)
        published = rows_of(self._view, self._tables.scan(self._table, version))
        ttl = self._view.ttl
        fresh = f"{KNOWN_AT} >= {instant(end - ttl)}" if ttl else "true"
        return f"""select {columns} from (
                select *, row_number() over (
                    partition by {", ".join(keys_of_view(self._view))} order by {KNOWN_AT} desc
                ) as newness
                from ({published}) as published
                where {KNOWN_AT} <= {instant(end)} and {fresh}
            ) as known where newness = 1"""

    def _changed(self, now: str, before: Materialised) -> pa.Table | None:
        """What differs from what is served; None where that cannot be read any more."""
        end = datetime.fromisoformat(before.until)
        keys = ", ".join(keys_of_view(self._view))
        try:
            then = self._tables.hold("before", self._latest(before.version, end))
            changed = self._tables.fetch(
                f"select * from {now} except select * from {then}", self._schema
            )
            gone = self._tables.fetch(
                f"select {keys} from {then} except select {keys} from {now}",
                pa.schema([self._schema.field(key) for key in keys_of_view(self._view)]),
            )
        except Unavailable:
            raise
        except LakehouseError as error:
            # Maintenance took the version away with which to compare, or it has other columns.
            log.info("served anew", view=self._view.name, why=error.cause)
            return None
        return pa.concat_tables([changed, self._without_features(gone)])

    def _without_features(self, keys: pa.Table) -> pa.Table:
        columns = [
            keys[field.name]
            if field.name in keys.column_names
            else pa.array(
                [self._opened.end if field.name == KNOWN_AT else None] * keys.num_rows, field.type
            )
            for field in self._schema
        ]
        return pa.table(columns, schema=self._schema)

    def _write(self, rows: pa.Table) -> None:
        import pandas as pd

        # Its public method refuses rows that are all without features. It writes the first chunk
        # of a table and drops the others; with these types whole numbers stay whole beside nulls.
        provider = self._opened.store._get_provider()
        for begin in range(0, rows.num_rows, _ROWS):
            part = rows.slice(begin, _ROWS).combine_chunks()
            provider.ingest_df(self._view, part.to_pandas(types_mapper=pd.ArrowDtype))

    def _empty(self) -> None:
        for gone, kept in (([self._view], []), ([], [self._view])):
            self._opened.store._get_provider().update_infra(
                self._opened.store.project, gone, kept, [], [], partial=True
            )
