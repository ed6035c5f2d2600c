"""How names, texts and versions of tables are written in SQL."""

from deltalake import DeltaTable


def identifier(name: str) -> str:
    """A name in double quotes, so that it may be a reserved word."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text in single quotes."""
    return "'" + text.replace("'", "''") + "'"


def delta_scan(table: DeltaTable) -> str:
    """A local table at the very version that is open."""
    return f"delta_scan({literal(table.table_uri)}, version => {table.version()})"
