"""DuckDB for SQLAlchemy, as Great Expectations needs it: read-only, and rows outlive a rollback."""

from __future__ import annotations

from typing import Any

import duckdb_engine
from sqlalchemy.dialects import registry

NAME = "duckdb+lakehouse"


class Dialect(duckdb_engine.Dialect):
    """Great Expectations fetches rows after it has ended their transaction, which drops them."""

    supports_statement_cache = False

    def connect(self, *arguments: Any, **options: Any) -> Any:
        """Connect; times are told in UTC, as everywhere."""
        connection = super().connect(*arguments, **options)
        connection.execute("set TimeZone = 'UTC'")
        return connection

    def do_begin(self, connection: Any) -> None:
        """Nothing: what only reads needs no transaction."""

    def do_commit(self, connection: Any) -> None:
        """Nothing."""

    def do_rollback(self, connection: Any) -> None:
        """Nothing."""


registry.register("duckdb.lakehouse", __name__, "Dialect")
