"""The demo shop as a PostgreSQL database that works: its log, committed transaction by transaction.

What capture files tell as events happens here to tables; a connector makes the events. How far the
shop has come stands in the database itself, written by the same transactions, so that a run which
was cut off is continued where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from typing import Any

import duckdb

from pipelines.demo import basics, shop
from pipelines.demo.disturbances import disturb
from pipelines.demo.tables import TABLES, Column, Kind, Table
from pipelines.errors import LakehouseError, UsageError

_TYPES: dict[Kind, str] = {
    "integer": "bigint",
    "decimal": "numeric(18, 2)",
    "text": "text",
    "boolean": "boolean",
    "timestamp": "timestamptz",
    "date": "date",
}
_CHANGES_AT_ONCE = 20_000
# Beside the shop's own tables, out of sight of change data capture.
_PROGRESS = "shop_state.progress"


@dataclass
class RunReport:
    """What a run of the shop did.

    Attributes:
        transactions: committed ones, the opening included.
        changes: table → rows inserted, updated or deleted.
        is_over: whether the shop's year has come to its end.
    """

    transactions: int = 0
    changes: dict[str, int] = field(default_factory=dict)
    is_over: bool = False


@dataclass(frozen=True)
class _Change:
    number: int
    transaction: int
    is_snapshot: bool
    op: str
    table: Table
    values: list[Any]


def run(
    url: str,
    *,
    clients: int | None = 500,
    until: date | None = None,
    rate: float | None = None,
    disturb_every: int | None = None,
    on_progress: Callable[[int], None] = lambda changes: None,
) -> RunReport:
    """Play the shop on a database, from where it stands.

    Args:
        url: of the database, as libpq takes it; the tables are made there if they are missing.
        clients: how many households; None for all. The same in each run on a database.
        until: the day (UTC) before which to stop; default: the end of the log, 2018-01-02.
        rate: changes a second at most; None: as fast as the database takes them.
        disturb_every: after so many changes something happens that no shop does by itself.

    Raises:
        UsageError: the database plays a shop of another size, or an argument makes no sense.
        LakehouseError: the driver is missing, or the database refuses something.
    """
    psycopg = _driver()
    end = until or basics.CLOSING.date()
    shop.check(clients, basics.OPENING.date(), end)
    report = RunReport(is_over=end >= basics.CLOSING.date())
    with shop.built_log(clients) as log:
        try:
            with psycopg.connect(url, autocommit=True, options="-c TimeZone=UTC") as database:
                _create_tables(database)
                begun = _progress(database, clients)
                _play(database, log, begun, end, rate, disturb_every, report, on_progress)
        except psycopg.Error as error:
            raise LakehouseError(
                f"the database refuses: {' '.join(str(error).split())}",
                "check the URL, the password and the rights: the shop makes tables in its schema "
                "public and a schema shop_state, and writes into both",
            ) from None
    return report


def _driver() -> Any:
    try:
        import psycopg
    except ImportError:
        raise LakehouseError(
            "psycopg is not installed",
            "pip install 'lakehouse-platform[postgres]'",
        ) from None
    return psycopg


def _create_tables(database: Any) -> None:
    with database.transaction():
        for table in TABLES:
            columns = ", ".join(f'"{c.name}" {_TYPES[c.kind]}' for c in table.columns)
            key = ", ".join(f'"{name}"' for name in table.key)
            database.execute(
                f'create table if not exists public."{table.name}" ({columns}, primary key ({key}))'
            )
        database.execute("create schema if not exists shop_state")
        database.execute(
            f"create table if not exists {_PROGRESS} (clients integer, changes bigint not null)"
        )


def _progress(database: Any, clients: int | None) -> int:
    """How many changes of the log the database has; -1 before the opening."""
    row = database.execute(f"select clients, changes from {_PROGRESS}").fetchone()
    if row is None:
        held = [t.name for t in TABLES if database.execute(_any_row(t)).fetchone()]
        if held:
            raise UsageError(
                f"table {held[0]} of the database holds rows that no run of the shop has written",
                "give the shop a database of its own",
            )
        database.execute(f"insert into {_PROGRESS} values (%s, -1)", [clients])
        return -1
    if row[0] != clients:
        raise UsageError(
            f"this database plays a shop of {row[0] or 'all'} clients, not of {clients or 'all'}",
            "give the same --clients, or another database",
        )
    return int(row[1])


def _any_row(table: Table) -> str:
    return f'select 1 from public."{table.name}" limit 1'


def _play(
    database: Any,
    log: duckdb.DuckDBPyConnection,
    begun: int,
    end: date,
    rate: float | None,
    disturb_every: int | None,
    report: RunReport,
    on_progress: Callable[[int], None],
) -> None:
    started, done = time.monotonic(), 0
    for _, changes in groupby(_changes(log, begun, end), lambda c: c.transaction):
        transaction = list(changes)
        with database.transaction(), database.cursor() as cursor:
            for (table, op), same in groupby(transaction, lambda c: (c.table, c.op)):
                _apply(cursor, table, op, [change.values for change in same])
            cursor.execute(f"update {_PROGRESS} set changes = %s", [transaction[-1].number])
        report.transactions += 1
        for change in transaction:
            report.changes[change.table.name] = report.changes.get(change.table.name, 0) + 1
        # The opening was there before; it is no work of the day.
        before = done
        done += 0 if transaction[0].is_snapshot else len(transaction)
        if disturb_every and done // disturb_every > before // disturb_every:
            disturb(database, transaction[-1].number)
        if rate:
            time.sleep(max(0.0, started + done / rate - time.monotonic()))
        on_progress(done)


def _apply(cursor: Any, table: Table, op: str, rows: list[list[Any]]) -> None:
    columns = table.columns
    names = ", ".join(f'"{c.name}"' for c in columns)
    if op == "r":
        with cursor.copy(f'copy public."{table.name}" ({names}) from stdin') as copy:
            for row in rows:
                copy.write_row(row)
        return
    key = [place for place, column in enumerate(columns) if column.name in table.key]
    where = " and ".join(f'"{columns[place].name}" = %s' for place in key)
    if op == "c":
        marks = ", ".join(["%s"] * len(columns))
        cursor.executemany(f'insert into public."{table.name}" ({names}) values ({marks})', rows)
    elif op == "u":
        changed = ", ".join(f'"{c.name}" = %s' for c in columns)
        cursor.executemany(
            f'update public."{table.name}" set {changed} where {where}',
            [[*row, *(row[place] for place in key)] for row in rows],
        )
    else:
        cursor.executemany(
            f'delete from public."{table.name}" where {where}',
            [[row[place] for place in key] for row in rows],
        )


def _changes(log: duckdb.DuckDBPyConnection, begun: int, end: date) -> Iterator[_Change]:
    """The changes after a number, in the log's order; whole transactions."""
    end_us = shop.microseconds(end)
    ((last,),) = log.execute(
        f"select coalesce(max(seq), -1) from log where at_us < {end_us}"
    ).fetchall()
    for low in range(begun, last, _CHANGES_AT_ONCE):
        found: list[_Change] = []
        for place, table in enumerate(TABLES):
            columns = ", ".join(_value(column) for column in table.columns)
            rows = log.execute(
                f"""select l.seq, l.tx, l.is_snapshot, l.op, {columns}
                from log as l join ev_{table.name} as e on e.rowid = l.entry
                where l.tbl = {place} and not l.is_tombstone and l.at_us < {end_us}
                    and l.seq > {low} and l.seq <= {low + _CHANGES_AT_ONCE}"""
            ).fetchall()
            found += [
                _Change(number, transaction, is_snapshot, op, table, values)
                for number, transaction, is_snapshot, op, *values in rows
            ]
        yield from sorted(found, key=lambda change: change.number)


def _value(column: Column) -> str:
    value = f'e."{column.field}"'
    # As naive text in UTC, which the session's time zone is.
    return f"{value}::varchar" if column.kind in ("timestamp", "date", "decimal") else value
