"""The models of the work file that read a raw table, known from what they have consumed."""

from __future__ import annotations

import duckdb

from pipelines.contract import Table

SCHEMA = "staging"


def models_of(connection: duckdb.DuckDBPyConnection, table: Table) -> dict[str, bool]:
    """The base and history models of a table, and whether they keep each change.

    Args:
        connection: with the work file in use.
    """
    rows = connection.execute(
        """select reader.model, bool_or(reads.column_name = '_change_id')
           from state.consumption as reader
           inner join duckdb_columns() as reads
               on reader.model = reads.table_name
               and reads.schema_name = $schema
               and reads.database_name = current_database()
           where reader.upstream = $topic and reader.token = ''
           group by reader.model order by reader.model""",
        {"schema": SCHEMA, "topic": table.topic},
    ).fetchall()
    return {f"{SCHEMA}.{model}": keeps_changes for model, keeps_changes in rows}
