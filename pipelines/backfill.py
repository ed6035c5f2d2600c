"""Backfill: what the events of some days concern is made anew, from the staged history on.

The keys that have events on these days get a fresh increment in their base and history models. To
every reader that is news, so that the usual build empties and re-makes the scopes of these keys.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time

import duckdb

from pipelines import chain, transform
from pipelines.caller import COMMAND_LINE, Caller
from pipelines.contract import Table, load_contracts
from pipelines.errors import LakehouseError, UsageError
from pipelines.lake import staged
from pipelines.lake.duck import connect_warehouse
from pipelines.lake.ids import new_run_id
from pipelines.lake.publish import PUBLICATION, Manifest, read_manifest
from pipelines.records import recorded
from pipelines.settings import Settings
from pipelines.table_names import tables_called
from pipelines.targets import refuse_server
from pipelines.transform import BuildReport

COMMAND = "lakehouse backfill"


@dataclass(frozen=True)
class Days:
    """Days of the source's time, UTC.

    Raises:
        UsageError: they end before they begin.
    """

    start: date
    until: date

    def __post_init__(self) -> None:
        if self.start >= self.until:
            raise UsageError(
                f"--from {self.start} is not before --until {self.until}",
                "the day of --until is excluded: for one day, give the next one",
            )

    @property
    def bounds(self) -> list[datetime]:
        """The first instant, and the first one after them."""
        return [datetime.combine(day, time(), UTC) for day in (self.start, self.until)]


@dataclass(frozen=True)
class Marked:
    """What of a source table is made anew.

    Attributes:
        events: its staged changes on these days.
        keys: how many keys these concern; None for a table without a key.
    """

    table: str
    events: int
    keys: int | None


@dataclass(frozen=True)
class Comparison:
    """A published table before and after; None where it was not there.

    Attributes:
        hash_before, hash_after: of columns and rows, whatever the order of the rows.
    """

    table: str
    rows_before: int | None
    rows_after: int | None
    hash_before: str | None
    hash_after: str | None

    @property
    def has_changed(self) -> bool:
        return self.hash_before != self.hash_after


@dataclass
class BackfillReport:
    """What a backfill did; without events on these days, nothing.

    Attributes:
        build: None where there was nothing to build.
    """

    run_id: str
    marked: list[Marked]
    build: BuildReport | None = None
    tables: list[Comparison] = field(default_factory=list)


def backfill(
    settings: Settings,
    days: Days,
    names: Collection[str] = (),
    *,
    command: str = COMMAND,
    by: Caller = COMMAND_LINE,
    on_progress: chain.Progress = lambda step, detail: None,
) -> BackfillReport:
    """Make anew what the events of these days concern, and publish it if all tests pass.

    Args:
        names: source tables, by name, topic or SQL name; empty means all.

    Raises:
        UsageError: there is no table of such a name.
        Busy: another run holds this lake.
        LakehouseError: nothing is built yet, a table has no history, or the build failed; the next
            run or backfill then finishes it, and what is published stays as it was.
    """
    refuse_server(settings, COMMAND)
    tables = tables_called(load_contracts(settings.project_dir), names)
    if not transform.is_built(settings):
        raise LakehouseError(
            f"nothing is built in {settings.home} yet",
            "a backfill repeats what was built: begin with `lakehouse run`, or name another lake "
            "with --home",
        )
    with recorded(settings, command, by) as recorder:
        on_progress("mark", "what these days concern")
        # Not the run's id, which a run that is tried again has a second time.
        marked = recorder.call("mark", lambda: mark(settings, tables, days, new_run_id()))
        recorder.finished("mark")
        if not marked:
            return BackfillReport(recorder.run_id, [])
        before = read_manifest(settings.published)
        built, after = chain.build_and_publish(settings, recorder, on_progress)
    return BackfillReport(recorder.run_id, marked, built, _compared(before, after))


def mark(settings: Settings, tables: Collection[Table], days: Days, increment: str) -> list[Marked]:
    """Give the keys that have events on these days a fresh increment, all or none of them.

    Needs the lake's lock. The marks stay until a build has consumed them.

    Args:
        increment: an id that no increment before had.

    Returns:
        The tables that have such events.
    """
    with connect_warehouse(settings, read_only=False) as connection:
        connection.begin()
        found = [_mark_table(connection, table, days, increment) for table in tables]
        marked = [table for table in found if table is not None]
        if marked:
            # Before the marks: a build in vain is harmless, marks that no build looks for are not.
            transform.demand_build(settings, increment)
        connection.commit()
    return marked


def _mark_table(
    connection: duckdb.DuckDBPyConnection, table: Table, days: Days, increment: str
) -> Marked | None:
    models = staged.models_of(connection, table)
    if not models:
        return None
    history = next((model for model, keeps_changes in models.items() if keeps_changes), None)
    if history is None:
        raise LakehouseError(
            f"{table.topic} has no history, which tells the keys that had events on these days",
            f"add a model `hist_{table.name}` with change_log, as the tutorial shows; "
            "or name the tables to backfill",
        )
    on_these_days = "_source_ts >= $start and _source_ts < $until"
    bounds = dict(zip(("start", "until"), days.bounds, strict=True))
    key = ", ".join(f'"{name}"' for name in table.key)
    has_no_key = f'"{table.key[0]}" is null' if table.key else "false"
    ((events, keyless),) = connection.execute(
        f"select count(*), count(*) filter ({has_no_key}) from {history} where {on_these_days}",
        bounds,
    ).fetchall()
    if not events:
        return None
    concerned = on_these_days
    if table.key:
        connection.execute(
            f"create or replace temp table concerned as "
            f"select distinct {key} from {history} where {on_these_days}",
            bounds,
        )
        # A truncate, or the end of a snapshot, has no key and concerns them all.
        concerned = "true" if keyless else f"({key}) in (select {key} from concerned)"
        bounds = {}
    for model in models:
        connection.execute(
            f"update {model} set _increment_id = $increment where {concerned}",
            bounds | {"increment": increment},
        )
        connection.execute(
            "insert into state.increment (model, increment_id) values ($model, $increment)",
            {"model": model.removeprefix(f"{staged.SCHEMA}."), "increment": increment},
        )
    return Marked(table.topic, events, _count_keys(connection, history, key, increment))


def _count_keys(
    connection: duckdb.DuckDBPyConnection, history: str, key: str, increment: str
) -> int | None:
    if not key:
        return None
    ((keys,),) = connection.execute(
        f"""select count(*) from (
                select distinct {key} from {history}
                where _increment_id = $increment and _op not in ('t', 'p'))""",
        {"increment": increment},
    ).fetchall()
    return int(keys)


def _compared(before: Manifest | None, after: Manifest) -> list[Comparison]:
    former = before.tables if before else {}
    found = []
    for name in sorted((former.keys() | after.tables.keys()) - {PUBLICATION}):
        old, new = former.get(name), after.tables.get(name)
        found.append(
            Comparison(
                name,
                old.rows if old else None,
                new.rows if new else None,
                old.content_hash if old else None,
                new.content_hash if new else None,
            )
        )
    return found
