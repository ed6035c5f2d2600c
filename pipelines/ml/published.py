"""What training and inference read: published tables, each at the version that readers see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta

import duckdb
import pyarrow as pa

from pipelines.errors import LakehouseError
from pipelines.lake.catalog import create_published_views
from pipelines.lake.duck import connect
from pipelines.lake.publish import Manifest, read_manifest
from pipelines.settings import Settings
from pipelines.targets import refuse_server


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

    def note(self, tables: Sequence[str]) -> None:
        """Note tables as read.

        Args:
            tables: full names.

        Raises:
            LakehouseError: one of them is not published.
        """
        for name in tables:
            table = self.manifest.tables.get(name)
            if table is None:
                raise LakehouseError(
                    f"{name} is not published",
                    "run `lakehouse run`: models learn from what a green run has published",
                )
            self.inputs[name] = Input(name, table.version, table.rows, table.content_hash)


@dataclass
class Published(Publication):
    """A publication that DuckDB reads."""

    _connection: duckdb.DuckDBPyConnection

    def query(self, sql: str, tables: Sequence[str]) -> pa.Table:
        """Rows of published tables.

        Args:
            sql: reads no other tables than these.
            tables: full names.

        Raises:
            LakehouseError: one of them is not published.
        """
        self.note(tables)
        return self._connection.execute(sql).to_arrow_table()


def current_manifest(settings: Settings, command: str) -> Manifest:
    """What readers see now.

    Raises:
        UsageError: the target is a server.
        LakehouseError: nothing is published yet, or it has no day.
    """
    refuse_server(settings, command)
    manifest = read_manifest(settings.published)
    if manifest is None or manifest.business_date is None:
        raise LakehouseError(
            f"nothing is published in {settings.home} yet",
            "begin with `lakehouse run`: models learn from what a green run has published",
        )
    return manifest


@contextmanager
def published(settings: Settings, command: str) -> Iterator[Published]:
    """Open what is published now; later publications do not show in it.

    Raises:
        UsageError, LakehouseError: as `current_manifest`.
    """
    manifest = current_manifest(settings, command)
    with connect(settings) as connection:
        create_published_views(connection, settings.published)
        yield Published(manifest, connection)
