"""PostgreSQL as a side of the comparison: one repeatable-read transaction, and its SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pipelines.lake.sql import identifier
from pipelines.source import postgres
from pipelines.source.schema import SourceColumn, SourceSchema, SourceTable
from pipelines.verify.dialect import Dialect, RowHash

_ROWS_AT_ONCE = 2_000
_FINITE = "case when isfinite({c}) then %s end"
_MICROS = "(extract(epoch from {c}) * 1000000)::bigint"
_BITS = (
    "case when {c} = 'NaN' then 'NaN' else ('x' || encode(%ssend({c}), 'hex'))::bit(%d)::text end"
)
_AS_WRITTEN = "case when {c} is not null then concat({c}) end"
_SPECIAL = "when 'NaN' then 'NAN' when 'Infinity' then 'POSITIVE_INFINITY' "
_SPECIAL += "when '-Infinity' then 'NEGATIVE_INFINITY'"
_PART = "extract({part} from {{c}})::bigint"

_WHOLE = dict.fromkeys(("int2", "int4", "int8", "oid"), "{c}::text")
_NUMBERS = _WHOLE | {
    "numeric": "trim_scale({c})::text",
    "money": "trim_scale({c}::numeric)::text",
}
# What Debezium writes where the contract has a text; base type → PostgreSQL.
_TEXTS = _WHOLE | {
    **dict.fromkeys(
        (
            "text", "varchar", "bpchar", "citext", "char", "enum", "uuid", "json", "jsonb", "xml",
            "inet", "cidr", "macaddr", "macaddr8", "ltree", "tsvector", "int4range", "int8range",
            "numrange", "daterange", "tsrange",
        ),
        _AS_WRITTEN,
    ),
    **dict.fromkeys(
        ("text[]", "varchar[]", "uuid[]", "enum[]", "numeric[]"), "to_json({c}::text[])::text"
    ),
    **dict.fromkeys(("int2[]", "int4[]", "int8[]", "bool[]"), "to_json({c})::text"),
    "numeric": f"case {{c}} {_SPECIAL} else {{c}}::text end",
    "bool": "{c}::text",
    "bytea": "replace(encode({c}, 'base64'), e'\\n', '')",
    # The last moment of a day is the first one to Java.
    "time": "case when {c} = '24:00' then '00:00:00' else {c}::text end || 'Z'",
    "timetz": "({c} at time zone 'UTC')::time::text || 'Z'",
    "interval": "'P' || {} || 'Y' || {} || 'M' || {} || 'D' || 'T' || {} || 'H' || {} || 'M' || "
    "trim_scale(extract(second from {{c}}))::text || 'S'".format(
        *(_PART.format(part=part) for part in ("year", "month", "day", "hour", "minute"))
    ),
}  # fmt: skip
_BY_KIND: dict[str, dict[str, str]] = {
    "whole": _NUMBERS,
    "decimal": _NUMBERS,
    "double": {"float8": _BITS % ("float8", 64)},
    "real": {"float4": _BITS % ("float4", 32)},
    "boolean": {"bool": "{c}::text", "bit": "({c} = b'1')::text"},
    "date": {"date": _FINITE % "{c}::text"},
    "timestamp": dict.fromkeys(("timestamp", "timestamptz"), _FINITE % f"{_MICROS}::text"),
    "varchar": _TEXTS,
}


def _place(order: str, bound: str, starts: Sequence[str]) -> tuple[str, list[Any]]:
    return f"width_bucket({order}, %s::text[]::{bound}[])", [list(starts)]


POSTGRES = Dialect(
    texts=_BY_KIND,
    floats={"float4": "real"},
    row_hash=RowHash(
        length="cast(length({t}) as varchar)",
        # Bytes of UTF-8, whatever the encoding of the database.
        number="('x' || substr(md5(convert_to({t}, 'UTF8')), 1, 15))::bit(60)::bigint",
    ),
    instant=_MICROS,
    whole="int8",
    # No other collation is the same everywhere.
    bytewise='({t}) collate "C"',
    bytes="text",
    decimal="numeric",
    number_bounds=dict.fromkeys(_WHOLE, "int8"),
    number_orders={"money": "{c}::numeric"},
    place=_place,
)


class PostgresDatabase:
    """A database of PostgreSQL as of one moment; see `Database`."""

    dialect = POSTGRES

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._log_end = self._log_now()

    def schemas(self, names: set[str]) -> dict[str, SourceSchema]:
        return {name: postgres.read_schema(self._connection, name) for name in names}

    def relation(self, schema: str, table: SourceTable) -> str:
        only = "" if table.is_partitioned else "only "
        return f"{only}{identifier(schema)}.{identifier(table.name)}"

    def why_not(self, column: SourceColumn) -> str | None:
        return None

    def rows(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        return list(self._connection.execute(statement, parameters).fetchall())

    @contextmanager
    def stream(self, statement: str, parameters: Sequence[Any]) -> Iterator[Iterator[Any]]:
        with self._connection.cursor(name="verify") as cursor:
            cursor.itersize = _ROWS_AT_ONCE
            cursor.execute(statement, parameters)
            yield iter(cursor)

    def written_since(self, order_key: str) -> int | None:
        # The fourth part is the LSN: epoch, last commit, snapshot or not, LSN, rank, offset.
        return max(0, self._log_end - int(order_key.split(".")[3]))

    def _log_now(self) -> int:
        ((place,),) = self.rows(
            "select pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() "
            "else pg_current_wal_lsn() end, '0/0')",
            [],
        )
        return int(place)


@contextmanager
def opened(url: str) -> Iterator[PostgresDatabase]:
    """The database of a URL; raises as `postgres.snapshot`."""
    with postgres.snapshot(url) as connection:
        yield PostgresDatabase(connection)
