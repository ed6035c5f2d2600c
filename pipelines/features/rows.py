"""The rows of a published feature table, as Feast takes them."""

from __future__ import annotations

from pathlib import Path

import duckdb


def rows_of(connection: duckdb.DuckDBPyConnection, path: Path, version: int) -> str:
    """A query over one version of a table.

    Args:
        connection: can read Delta, and keeps UTC.

    Returns:
        SQL; its columns are those of the table, decimals as doubles (Feast has no others), and
        `known_at`, the midnight after `feature_date`: until then the day's sales went on.
    """
    place = str(path).replace("'", "''")
    scan = f"delta_scan('{place}', version => {version})"
    columns = []
    for name, kind, *_ in connection.execute(f"describe select * from {scan}").fetchall():
        is_decimal = str(kind).startswith("DECIMAL")
        columns.append(f'cast("{name}" as double) as "{name}"' if is_decimal else f'"{name}"')
    known_at = "cast(feature_date + interval 1 day as timestamptz) as known_at"
    return f"select {', '.join(columns)}, {known_at} from {scan}"
