"""The rows of a published feature table, as Feast takes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

if TYPE_CHECKING:
    from feast import FeatureView

KNOWN_AT = "known_at"


class Tables(Protocol):
    """The published feature tables, on the engine that reads them; it keeps UTC."""

    def scan(self, table: str, version: int) -> str:
        """What to select from, for one version of a table."""

    def hold(self, name: str, query: str) -> str:
        """What to select from, for the rows of a query that are asked for again.

        Raises:
            LakehouseError: as `fetch`.
        """

    def fetch(self, query: str, schema: pa.Schema) -> pa.Table:
        """The answer to a query, whose columns are those of the schema.

        Raises:
            Unavailable: the engine does not answer.
            LakehouseError: it refuses: no such version any more, no such column.
        """


def rows_of(view: FeatureView, scan: str) -> str:
    """A query over one version of a view's table; DuckDB and Trino take it alike.

    Returns:
        SQL; its columns are those of `schema_of`: keys and features in the types that the view
        tells (decimals as doubles, for Feast has no others), and `known_at`, the midnight after
        `feature_date`: until then the day's sales went on.
    """
    types = {"int64": "bigint", "double": "double", "bool": "boolean", "string": "varchar"}
    columns = [
        f'cast("{field.name}" as {types[str(field.type)]}) as "{field.name}"'
        for field in schema_of(view)
        if field.name != KNOWN_AT
    ]
    known_at = "cast(feature_date + interval '1' day as timestamp with time zone)"
    return f"select {', '.join(columns)}, {known_at} as {KNOWN_AT} from {scan}"


def schema_of(view: FeatureView) -> pa.Schema:
    """Keys, features and `known_at` of a view."""
    from feast.types import from_feast_to_pyarrow_type

    fields = [*view.entity_columns, *view.features]
    return pa.schema(
        [(field.name, from_feast_to_pyarrow_type(field.dtype)) for field in fields]
        + [(KNOWN_AT, pa.timestamp("us", tz="UTC"))]
    )


def keys_of_view(view: FeatureView) -> Sequence[str]:
    """The columns that name an entity."""
    return [str(column.name) for column in view.entity_columns]


def instant(at: datetime) -> str:
    """An instant in SQL.

    Args:
        at: in UTC; it counts in whole seconds.
    """
    return f"cast('{at:%Y-%m-%d %H:%M:%S} UTC' as timestamp with time zone)"
