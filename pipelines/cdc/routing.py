"""SQL that tells of each message of a shared topic which table it is of.

The message says it in its `source` block: server, database, schema and table, of which a contract's
`namespace` is the schema, the database, or both (MariaDB has no schema, and a topic of SQL Server
names both). Flattened events say it in the fields that `add.fields` was told to add.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.cdc.json_parsing import Parse
from pipelines.contract import Table
from pipelines.lake.sql import literal

_NAMES = ("name", "db", "schema", "table")
_FLAT = tuple(f"{prefix}{name}" for name in _NAMES for prefix in ("__source_", "__"))


def named_tables(parse: Parse) -> str:
    """CTEs up to `told`: `message` with its `op`, and `origin`: what it tells of its table."""
    event: dict[str, object] = {"op": "VARCHAR", "source": dict.fromkeys(_NAMES, "VARCHAR")}
    event |= dict.fromkeys(_FLAT, "VARCHAR")
    same = ", ".join(f'"{name}" := p."{name}"' for name in event)
    flat = ", ".join(f'"{name}" := coalesce(e."__source_{name}", e."__{name}")' for name in _NAMES)
    return f"""
    shaped as (
        select *, {parse.struct("payload", event | {"payload": event})} as p from message
    ), unwrapped as (
        select * exclude (p),
            case when p.op is null and p.payload is not null
                and coalesce(try(json_exists(payload, '$.schema')), false)
                then p.payload else struct_pack({same}) end as e
        from shaped
    ), told as (
        select * exclude (e), e.op as op,
            case when e.op is not null and e.source is not null then e.source
                else struct_pack({flat}) end as origin
        from unwrapped
    )"""


def routes(tables: Sequence[Table]) -> str:
    """CTEs up to `routed`: `told` with `route`, the `topic` of the table; NULL without a contract.

    The server need be told only where the tables are of several.
    """
    servers = {table.server for table in tables}
    only_server = literal(servers.pop()) if len(servers) == 1 else "null"
    rows = ", ".join(
        f"({literal(t.server)}, {literal(t.namespace)}, {literal(t.name)}, {literal(t.topic)})"
        for t in tables
    )
    return f"""
    contract(server, namespace, name, topic) as (values {rows}),
    named as (
        select *, coalesce(origin.name, {only_server}) as server,
            origin.db || '.' || origin.schema as database_and_schema
        from told
    ), routed as (
        select named.*, coalesce(by_both.topic, by_one.topic) as route
        from named
        left join contract as by_both on by_both.server = named.server
            and by_both.namespace = database_and_schema and by_both.name = origin."table"
        left join contract as by_one on by_one.server = named.server
            and by_one.namespace = coalesce(origin.schema, origin.db)
            and by_one.name = origin."table"
    )"""
