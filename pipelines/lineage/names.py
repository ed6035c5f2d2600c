"""What datasets are called: source tables by their topic, tables of the lake as in SQL."""

from __future__ import annotations

from urllib.parse import urlsplit

from pipelines.contract import Connector, Table
from pipelines.lineage import facets
from pipelines.lineage.events import Facets

_SCHEMES: dict[Connector, str] = {"postgres": "postgres", "sqlserver": "mssql", "mariadb": "mysql"}


def source_namespace(table: Table) -> str:
    """The database, by the name of its server: contracts know no address."""
    return f"{_SCHEMES[table.connector]}://{table.server}"


def raw_name(table: Table) -> str:
    """A raw table as `lakehouse sql` knows it."""
    return f"raw.{table.sql_name}"


def place(path: object) -> tuple[str, str]:
    """Namespace and name of a folder or file, on disk or in a store."""
    text = str(path)
    parts = urlsplit(text)
    if parts.scheme and parts.netloc:
        return f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/")
    return "file", text


def delta(path: object) -> Facets:
    """The facets of a Delta table in this folder."""
    return {
        "storage": facets.storage("delta", "parquet"),
        "symlinks": facets.location(*place(path)),
    }
