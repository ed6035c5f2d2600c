"""What dbt-duckdb calls when it opens the work file: Delta becomes readable."""

import os

from dbt.adapters.duckdb.plugins import BasePlugin
from duckdb import DuckDBPyConnection

from pipelines.lake.duck import load_delta


class Plugin(BasePlugin):
    """Loads the Delta extension for every dbt command, without INSTALL."""

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        """Prepare the connection that all of dbt's threads share."""
        load_delta(conn, os.environ.get("LAKEHOUSE_STORE"))
