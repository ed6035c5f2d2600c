"""What models and reports read: published tables, each at the version that readers see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta

import duckdb
import pyarrow as pa

from pipelines.errors import LakehouseError
from pipelines.lake.duck import connect
from pipelines.lake.publish import Manifest
from pipelines.lake.publish import Published as PublishedTable
from pipelines.lake.shown import make_readable, shown, without_prefix
from pipelines.settings import Settings


@dataclass(frozen=True)
class Input:
    """A table that was read.

    Attributes:
        version: of the Delta table.
        content_hash: of its columns and rows, whatever their order.
    """

    table: str
    version: int
    rows: int
    content_hash: str

    def told(self) -> dict[str, str | int]:
        """As a mapping, for JSON."""
        return asdict(self)


@dataclass
class Publication:
    """A publication, and what was read of it, by whichever engine.

    Attributes:
        inputs: by table, in the order in which they were first read.
    """

    manifest: Manifest
    inputs: dict[str, Input] = field(default_factory=dict, kw_only=True)

    @property
    def last_day(self) -> date:
        """The last day that is over: the business date itself is not."""
        return date.fromisoformat(str(self.manifest.business_date)) - timedelta(days=1)

    def table(self, name: str) -> PublishedTable:
        """A table by its full name.

        Raises:
            LakehouseError: it is not published.
        """
        if name not in self.manifest.tables:
            raise LakehouseError(
                f"{name} is not published",
                "run `lakehouse run`: what a green run has published is read",
            )
        return self.manifest.tables[name]

    def note(self, name: str, table: PublishedTable) -> None:
        """Note a table as read."""
        self.inputs[name] = Input(name, table.version, table.rows, table.content_hash)


@dataclass
class Published(Publication):
    """A publication that DuckDB reads."""

    _settings: Settings
    _connection: duckdb.DuckDBPyConnection

    def query(self, sql: str, tables: Sequence[str]) -> pa.Table:
        """Rows of published tables.

        Args:
            sql: reads no other tables than these.
            tables: full names.

        Raises:
            LakehouseError: one of them is not published.
        """
        for name in tables:
            if name not in self.inputs:
                table = self.table(name)
                self.note(name, make_readable(self._connection, self._settings, name, table))
        return self._connection.execute(sql).to_arrow_table()


def current_manifest(settings: Settings) -> Manifest:
    """What readers see now, its tables named as models are.

    Raises:
        UsageError: the target publishes nothing.
        LakehouseError: nothing is published yet, or it has no day; Trino does not answer.
    """
    manifest = shown(settings)
    if manifest is None or manifest.business_date is None:
        raise LakehouseError(
            f"nothing is published in {settings.home} yet",
            "begin with `lakehouse run`: what a green run has published is read",
        )
    return without_prefix(manifest, settings.schema_prefix)


@contextmanager
def published(settings: Settings) -> Iterator[Published]:
    """Open what is published now; later publications do not show in it.

    Raises:
        UsageError, LakehouseError: as `current_manifest`.
    """
    manifest = current_manifest(settings)
    with connect(settings) as connection:
        yield Published(manifest, settings, connection)
