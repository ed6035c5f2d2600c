"""Checks of a PostgreSQL database that changes are captured from: its logical replication."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from pipelines.checks.finding import Finding
from pipelines.checks.source_clock import clock
from pipelines.contract import Table
from pipelines.source.postgres import snapshot

_CHECK = "source database"
_MOST_LAG_MIB = 1024

_SLOTS = """
select
    slot_name, active, wal_status,
    coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn) / 1048576, 0)::int8
from pg_replication_slots
where slot_type = 'logical' and database = current_database()
order by slot_name
"""
_TABLES = """
select
    n.nspname || '.' || c.relname,
    exists (
        select from pg_publication_tables as p
        where p.schemaname = n.nspname and p.tablename = c.relname
    ),
    c.relreplident in ('f', 'i') or exists (
        select from pg_index as i where i.indrelid = c.oid and i.indisprimary
    )
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname || '.' || c.relname = any(%s)
order by 1
"""


def check(url: str, contracted: Sequence[Table]) -> Iterator[Finding]:
    """Version, write-ahead log, slots, clock, and what is published of the contracts' tables.

    Args:
        contracted: the tables that are captured from such databases.

    Raises:
        LakehouseError: the database is not reached, or refuses.
    """
    names = [f"{table.namespace}.{table.name}" for table in contracted]
    asked = time.time()
    with snapshot(url) as connection:
        ((now, level),) = connection.execute(
            "select extract(epoch from clock_timestamp())::float8, current_setting('wal_level')"
        ).fetchall()
        answered = time.time()
        slots = connection.execute(_SLOTS).fetchall()
        tables = connection.execute(_TABLES, [names]).fetchall()
        version = connection.info.parameter_status("server_version")
    yield Finding(_CHECK, True, f"PostgreSQL {version}")
    yield _log_level(level)
    yield from _slots(slots)
    yield _tables(tables)
    yield clock(_CHECK, asked, now, answered)


def _log_level(level: str) -> Finding:
    remedy = "" if level == "logical" else "set wal_level = logical, and restart the database"
    return Finding(f"{_CHECK}: wal_level", level == "logical", level, remedy)


def _slots(slots: list[Any]) -> Iterator[Finding]:
    if not slots:
        yield Finding(
            f"{_CHECK}: slot", False, "no logical replication slot",
            "start the connector, which makes one. Where there was one before, changes since then "
            "are lost: `lakehouse resnapshot TABLE` tells what to do",
        )  # fmt: skip
    for name, active, status, lag in slots:
        finding = f"{_CHECK}: slot {name}"
        if status == "lost":
            yield Finding(
                finding, False, "its log is gone, and changes with it",
                "drop the slot, then begin anew: `lakehouse resnapshot TABLE` tells how; a higher "
                "max_slot_wal_keep_size keeps more log",
            )  # fmt: skip
        elif status == "unreserved":
            yield Finding(
                finding, False, f"{lag:,} MiB behind; the log it needs goes at the next checkpoint",
                "start the connector now, or raise max_slot_wal_keep_size",
            )  # fmt: skip
        elif not active:
            yield Finding(
                finding, False, f"nobody reads it, {lag:,} MiB behind",
                "start the connector, or drop the slot if none will come: the log that it holds "
                "fills the disk of the database",
            )  # fmt: skip
        else:
            ok = lag <= _MOST_LAG_MIB
            remedy = "" if ok else "see whether the connector keeps up, and its heartbeat"
            yield Finding(finding, ok, f"{lag:,} MiB behind", remedy)


def _tables(tables: list[Any]) -> Finding:
    hidden = [name for name, is_published, _ in tables if not is_published]
    nameless = [name for name, _, has_identity in tables if not has_identity]
    remedies = []
    if hidden:
        remedies.append(f"add to the publication: {', '.join(hidden)}")
    if nameless:
        remedies.append(
            f"alter table … replica identity full, since updates fail without a key: "
            f"{', '.join(nameless)}"
        )
    return Finding(
        f"{_CHECK}: tables", not remedies, f"{len(tables)} of the contracts are there",
        "; ".join(remedies),
    )  # fmt: skip
