"""Views over the published marts, with plain DuckDB: one view a table, all of one run.

Needs the wheels duckdb and duckdb-extension-delta, of the same release, and nothing else of this
repository. Usage: python docs/examples/duckdb_views.py [LAKE] [SQL]
"""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import duckdb


def connect(lake: Path) -> duckdb.DuckDBPyConnection:
    """Open DuckDB in memory, with a view `<schema>.<table>` for every table of the manifest."""
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    connection.execute("set TimeZone = 'UTC'")
    connection.load_extension(str(delta_extension()))
    published = lake.absolute() / "published"
    manifest = json.loads((published / "manifest.json").read_text(encoding="utf-8"))
    for name, table in manifest["tables"].items():
        schema, _, view = name.partition(".")
        connection.execute(f'create schema if not exists "{schema}"')
        # The version pins the view to one run; open anew to see the next one.
        place = str(published / table["path"]).replace("'", "''")
        connection.execute(
            f'create view "{schema}"."{view}" as '
            f"select * from delta_scan('{place}', version => {table['version']})"
        )
    return connection


def delta_extension() -> Path:
    """Find the extension in its wheel; INSTALL would need a network."""
    package = find_spec("duckdb_extension_delta")
    for folder in package.submodule_search_locations or [] if package else []:
        for file in Path(folder).rglob("delta.duckdb_extension"):
            return file
    raise SystemExit(f"install duckdb-extension-delta=={duckdb.__version__}")


if __name__ == "__main__":
    lake = Path(sys.argv[1] if len(sys.argv) > 1 else "lake")
    query = sys.argv[2] if len(sys.argv) > 2 else "from marts._publication order by table_name"
    connect(lake).sql(query).show(max_rows=50)
