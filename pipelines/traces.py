"""Traces of a person: a search through every file of the lake, committed or not.

Parquet is compressed, so that a search of its bytes would find nothing: it is read, and so are the
checkpoints with their statistics. All else is searched as it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.cdc.capture import find_captures, read_lines
from pipelines.cdc.erasures import Person, subject_columns
from pipelines.contract import Table
from pipelines.lake.duck import connect_warehouse
from pipelines.lake.sql import identifier, literal
from pipelines.settings import Settings

_ROWS_A_PIECE = 100_000


class Traces:
    """What tells of a person.

    Args:
        tables: the contracts that have columns with the person's id.
        hashes: keyed hashes of the person's data, for example of the e-mail address.
    """

    def __init__(
        self, settings: Settings, tables: Collection[Table], person: Person, hashes: Collection[str]
    ) -> None:
        self._settings = settings
        self._id = person.id
        self._topics = {table.stream_topic for table in tables}
        self._columns = sorted(
            {c.name for table in tables for c in subject_columns(table, person.subject)}
        )
        # The id where JSON gives it as one of these columns, quoted or not.
        self._in_json = (
            rf'({"|".join(self._columns)})\\*"\s*:\s*\\*"?{re.escape(person.id)}([^0-9A-Za-z_]|$)'
        )
        self._in_text = "|".join([self._in_json, *sorted(hashes)])

    def in_lake(self) -> Iterator[tuple[str, str]]:
        """Files of the lake with a trace, by their place below its home, and where in them."""
        for file in sorted(self._settings.home.rglob("*")):
            if not file.is_file() or file.is_relative_to(self._settings.inbox):
                continue
            if file == self._settings.warehouse:
                told = self._in_warehouse()
            elif file.suffix == ".parquet":
                told = self._in_parquet(file)
            else:
                told = "text" if re.search(self._in_text.encode(), file.read_bytes()) else None
            if told:
                yield str(file.relative_to(self._settings.home)), told

    def in_captures(self) -> Iterator[Path]:
        """Capture files of the inbox that name the person."""
        if not self._settings.inbox.is_dir():
            return
        for file in find_captures(self._settings.inbox):
            if file.topic in self._topics and any(
                _matches(lines.text, self._in_json) for lines in read_lines(file)
            ):
                yield file.path

    def _in_parquet(self, file: Path) -> str | None:
        for batch in pq.ParquetFile(file).iter_batches(_ROWS_A_PIECE):
            flat = pa.table(batch)
            # Of a checkpoint, the statistics are fields of structs.
            while any(pa.types.is_struct(field.type) for field in flat.schema):
                flat = flat.flatten()
            for name, column in zip(flat.column_names, flat.columns, strict=True):
                is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
                if name.rpartition(".")[2] in self._columns:
                    found = bool(pc.any(pc.equal(column.cast(pa.string()), self._id)).as_py())
                else:
                    found = is_text and _matches(column, self._in_text)
                if found:
                    return str(name)
        return None

    def _in_warehouse(self) -> str | None:
        with connect_warehouse(self._settings) as connection:
            places = connection.execute(
                """select schema_name, table_name, column_name from duckdb_columns()
                   where database_name = current_database() and not internal
                       and column_name in $names""",
                {"names": self._columns},
            ).fetchall()
            for schema, table, column in places:
                ((rows,),) = connection.execute(
                    f"""select count(*) from {identifier(schema)}.{identifier(table)}
                        where cast({identifier(column)} as varchar) = {literal(self._id)}"""
                ).fetchall()
                if rows:
                    return f"{schema}.{table}.{column}"
        return None


def _matches(texts: pa.Array | pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(texts, pattern)).as_py())
