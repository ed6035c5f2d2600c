"""What an administrator of PostgreSQL runs at the source: a role, row identities, a publication."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.lake.sql import identifier
from pipelines.source.drafted import DraftedSource, DraftedTable


def statements(source: DraftedSource) -> str:
    """SQL for psql; the password is given as the variable `cdc_password`."""
    return "\n".join(_lines(source)) + "\n"


def _lines(source: DraftedSource) -> Iterator[str]:
    role = identifier(source.role)
    # A name with line breaks must not end a comment.
    database = " ".join(source.database.split())
    yield f"-- Change data capture of {database}: what the database must be told, once."
    yield f"-- As a superuser: psql -v cdc_password=... -d {database} -f THIS_FILE"
    yield "-- The server must run with wal_level = logical."
    yield from (f"-- Now {note}." for note in source.notes)
    yield r"\set ON_ERROR_STOP on"
    yield "begin;"
    yield ""
    yield "-- The connector reads these tables and the log, and nothing else."
    yield f"create role {role} login replication password :'cdc_password';"
    yield f"grant connect on database {identifier(source.database)} to {role};"
    yield f"grant usage on schema {identifier(source.namespace)} to {role};"
    for table in source.tables:
        yield f"grant select on table {_name(source, table)} to {role};"
    yield ""
    yield "-- Writing here now and then lets the slot move on while the source sleeps."
    yield f"create schema {role};"
    yield f"grant usage on schema {role} to {role};"
    yield f"create table {role}.heartbeat (id integer primary key, at timestamptz not null);"
    yield f"insert into {role}.heartbeat values (1, now());"
    yield f"grant select, update on table {role}.heartbeat to {role};"
    identities = [line for table in source.tables for line in _identity(source, table)]
    if identities:
        yield ""
        yield "-- Without a primary key, the database refuses updates and deletes of a published"
        yield "-- table unless it knows what identifies a row. FULL writes whole rows to the log."
        yield from identities
    yield ""
    yield "-- Exactly these tables; partitions are published as the table that they are of."
    published = [*(_name(source, table) for table in source.tables), f"{role}.heartbeat"]
    yield f"create publication {identifier(source.publication)} for table"
    yield ",\n".join(f"    {name}" for name in published)
    yield "    with (publish_via_partition_root = true);"
    yield ""
    yield "commit;"


def _identity(source: DraftedSource, table: DraftedTable) -> Iterator[str]:
    own = table.table
    if own.key_index:
        index = identifier(own.key_index)
        yield f"alter table {_name(source, table)} replica identity using index {index};"
    elif not own.key and own.is_partitioned:
        yield f"-- Partitions of {identifier(own.name)}; each one to come needs the same."
        for schema, name in own.partitions:
            yield f"alter table {identifier(schema)}.{identifier(name)} replica identity full;"
    elif not own.key:
        yield f"alter table {_name(source, table)} replica identity full;"


def _name(source: DraftedSource, table: DraftedTable) -> str:
    return f"{identifier(source.namespace)}.{identifier(table.name)}"
