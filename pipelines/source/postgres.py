"""Reading the schema of a PostgreSQL database from its catalog: no table is scanned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipelines.errors import LakehouseError, UsageError
from pipelines.source.postgres_types import contract_type, is_large
from pipelines.source.schema import PLAIN_NAME, SourceColumn, SourceSchema, SourceTable

_OLDEST = 14
_CATALOG_MILLISECONDS = 30_000
_CONNECT_SECONDS = 10
_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}

_TABLES = """
select
    c.oid::int8, c.relname, c.relkind::text, c.relpersistence::text, c.relispartition,
    obj_description(c.oid, 'pg_class'),
    exists (select from pg_inherits as i where i.inhparent = c.oid) as has_children,
    exists (
        select from pg_depend as d
        where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
    ) as is_of_extension
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
where n.nspname = %s and c.relkind in ('r', 'p', 'v', 'm', 'f')
order by c.relname
"""
# Domains are followed down to their type; the modifier that is nearest to the column counts.
_COLUMNS = """
with recursive step as (
    select attrelid, attnum, atttypid as typid, atttypmod as modifier
    from pg_attribute
    where attrelid = any(%s::oid[]) and attnum > 0 and not attisdropped
    union all
    select s.attrelid, s.attnum, t.typbasetype,
        case when s.modifier = -1 then t.typtypmod else s.modifier end
    from step as s
    join pg_type as t on t.oid = s.typid and t.typtype = 'd'
)
select
    a.attrelid::int8, a.attname, format_type(a.atttypid, a.atttypmod), s.modifier, a.attndims,
    case when t.typtype = 'e' then 'enum' else t.typname end,
    case when e.typtype = 'e' then 'enum' else e.typname end,
    a.attgenerated <> '', col_description(a.attrelid, a.attnum)
from pg_attribute as a
join step as s on s.attrelid = a.attrelid and s.attnum = a.attnum
join pg_type as t on t.oid = s.typid and t.typtype <> 'd'
left join pg_type as e on e.oid = t.typelem and t.typcategory = 'A'
order by a.attrelid, a.attnum
"""
# What identifies a row: the primary key, else a unique index that no row can escape.
_KEYS = """
select i.indrelid::int8, c.relname, i.indisprimary, array_agg(a.attname order by k.place)
from pg_index as i
join pg_class as c on c.oid = i.indexrelid
cross join lateral unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.attnum
where i.indrelid = any(%s::oid[]) and i.indisunique and i.indisvalid and i.indimmediate
    and i.indpred is null and i.indexprs is null and k.place <= i.indnkeyatts
group by i.indrelid, c.relname, i.indisprimary
having bool_and(a.attnotnull)
order by i.indrelid, i.indisprimary desc, count(*), c.relname
"""
_LEAVES = """
select t.oid::int8, n.nspname, c.relname
from unnest(%s::oid[]) as t (oid)
cross join lateral pg_partition_tree(t.oid) as p
join pg_class as c on c.oid = p.relid
join pg_namespace as n on n.oid = c.relnamespace
where p.isleaf
order by 1, 2, 3
"""


@contextmanager
def snapshot(url: str) -> Iterator[Any]:
    """A connection in one read-only transaction, which sees the database as it is now.

    Args:
        url: as libpq takes it, beginning with postgresql://.

    Raises:
        LakehouseError: the driver is missing, or the database refuses something.
    """
    psycopg = _driver()
    try:
        with psycopg.connect(url, connect_timeout=_CONNECT_SECONDS) as connection:
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            # How values are written must not depend on who asks.
            for setting in (
                "time zone 'UTC'", "datestyle = 'ISO'", "intervalstyle = 'postgres'",
                "extra_float_digits = 1", "search_path = pg_catalog", "lock_timeout = '5s'",
            ):  # fmt: skip
                connection.execute(f"set local {setting}")
            _refuse_old(connection)
            yield connection
    except psycopg.Error as error:
        raise LakehouseError(
            f"the database refuses: {' '.join(str(error).split())}",
            "check the URL, the password and the rights",
        ) from None


def _driver() -> Any:
    try:
        import psycopg
    except ImportError:
        raise LakehouseError(
            "psycopg is not installed", "pip install 'lakehouse-platform[postgres]'"
        ) from None
    return psycopg


def _refuse_old(connection: Any) -> None:
    version = connection.info.server_version // 10_000
    if version < _OLDEST:
        raise LakehouseError(
            f"the database is PostgreSQL {version}; {_OLDEST} is the oldest that is read",
            "use a newer server",
        )


def read_schema(connection: Any, schema: str) -> SourceSchema:
    """Read tables, columns and keys of a schema.

    Args:
        connection: from `snapshot`.

    Raises:
        UsageError: there is no such schema, or its name cannot be part of a topic.
    """
    if not PLAIN_NAME.fullmatch(schema):
        raise UsageError(
            f"schema {schema!r} cannot be part of a topic's name",
            "only schemas of letters, digits and _ can be captured",
        )
    # The role's own limit holds again for what follows.
    ((limit,),) = connection.execute("select current_setting('statement_timeout')").fetchall()
    connection.execute(f"set local statement_timeout = {_CATALOG_MILLISECONDS}")
    if not connection.execute("select from pg_namespace where nspname = %s", [schema]).rowcount:
        raise UsageError(
            f"the database has no schema {schema}",
            "check the database in the URL, or name another schema",
        )
    rows = connection.execute(_TABLES, [schema]).fetchall()
    skipped = {row[1]: why for row in rows if (why := _why_skipped(row))}
    # Partitions are captured as their table, which stands in for them.
    kept = [row for row in rows if row[1] not in skipped and not row[4]]
    oids = [row[0] for row in kept]
    columns, keys = _columns(connection, oids), _keys(connection, oids)
    leaves = _leaves(connection, [row[0] for row in kept if row[2] == "p"])
    ((database, wal_level),) = connection.execute(
        "select current_database(), current_setting('wal_level')"
    ).fetchall()
    connection.execute("select set_config('statement_timeout', %s, true)", [limit])
    tables = [_table(row, columns, keys, leaves) for row in kept if row[0] in columns]
    return SourceSchema(
        connector="postgres",
        database=database,
        name=schema,
        tables=tuple(tables),
        skipped=skipped | {row[1]: "it has no column" for row in kept if row[0] not in columns},
        notes=() if wal_level == "logical" else (_wal_note(wal_level),),
    )


def _wal_note(wal_level: str) -> str:
    return f"wal_level is {wal_level}: set it to logical and restart the server"


def _why_skipped(row: Any) -> str | None:
    _, _, kind, persistence, is_partition, _, _, is_of_extension = row
    if is_partition:
        return None
    if kind in _KINDS:
        return f"it is {_KINDS[kind]}, which has no changes of its own"
    if is_of_extension:
        return "it belongs to an extension"
    return "it is unlogged: its changes are in no log" if persistence != "p" else None


def _columns(connection: Any, oids: list[int]) -> dict[int, list[SourceColumn]]:
    found: dict[int, list[SourceColumn]] = {}
    for (
        oid,
        name,
        declared,
        modifier,
        dimensions,
        typename,
        element,
        is_generated,
        comment,
    ) in connection.execute(_COLUMNS, [oids]):
        base = f"{element}[]" if element else typename
        data_type, note = contract_type(base, modifier, dimensions)
        if is_generated:
            # A snapshot would bring it, and no change after that.
            data_type, note = None, "generated: changes are published without it"
        found.setdefault(oid, []).append(
            SourceColumn(name, declared, base, data_type, note, comment, is_large(base, modifier))
        )
    return found


def _keys(connection: Any, oids: list[int]) -> dict[int, tuple[tuple[str, ...], str | None]]:
    """Table → key columns, and the index where they are no primary key; the best comes first."""
    found: dict[int, tuple[tuple[str, ...], str | None]] = {}
    for oid, index, is_primary, names in connection.execute(_KEYS, [oids]):
        found.setdefault(oid, (tuple(names), None if is_primary else index))
    return found


def _leaves(connection: Any, oids: list[int]) -> dict[int, list[tuple[str, str]]]:
    found: dict[int, list[tuple[str, str]]] = {}
    for oid, schema, name in connection.execute(_LEAVES, [oids]):
        found.setdefault(oid, []).append((schema, name))
    return found


def _table(
    row: Any,
    columns: dict[int, list[SourceColumn]],
    keys: dict[int, tuple[tuple[str, ...], str | None]],
    leaves: dict[int, list[tuple[str, str]]],
) -> SourceTable:
    oid, name, kind, _, _, comment, has_children, _ = row
    key, index = keys.get(oid, ((), None))
    is_partitioned = kind == "p"
    notes = []
    if has_children and not is_partitioned:
        notes.append("other tables inherit from it: a snapshot brings their rows as its own, too")
    if is_partitioned and index:
        # The leaves' indexes have other names, which the identity would have to name one by one.
        key, index = (), None
        notes.append("a partitioned table is known by its primary key only, and has none")
    return SourceTable(
        name=name,
        columns=tuple(columns[oid]),
        key=key,
        key_index=index,
        comment=comment,
        is_partitioned=is_partitioned,
        partitions=tuple(leaves.get(oid, ())),
        notes=tuple(notes),
    )
