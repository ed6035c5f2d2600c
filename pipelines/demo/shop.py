"""The demo shop's public function: writes a slice of its change log as capture files."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb

from pipelines.demo import (
    basics,
    envelopes,
    interactions,
    log,
    orders,
    package,
    products,
    promotions,
    sales,
    stock,
)
from pipelines.demo import (
    clients as people,
)
from pipelines.demo import (
    defects as spoiled,
)
from pipelines.demo.tables import TABLES
from pipelines.errors import LakehouseError, UsageError


@dataclass(frozen=True)
class CaptureReport:
    """What a capture wrote.

    Attributes:
        files: One a topic that has messages in the slice.
        events_by_table: Messages of each of the nine tables, tombstones included.
        events: Their sum.
        first_commit_at: Commit time of the first event (UTC); the snapshot counts as the opening.
        last_commit_at: Commit time of the last event (UTC).
        defects: The list of spoiled sales, where there are to be any.
    """

    files: list[Path]
    events_by_table: dict[str, int]
    events: int
    first_commit_at: datetime
    last_commit_at: datetime
    defects: Path | None = None


def capture(
    to: Path,
    *,
    clients: int | None = 500,
    start: date | None = None,
    until: date | None = None,
    defects: float = 0.0,
) -> CaptureReport:
    """Writes `to/<topic>/<start>_<until>.jsonl.zst` for each topic with events in the slice.

    The log depends on `clients` and `defects` alone: slices that touch join without a gap or an
    overlap, and equal arguments give equal bytes. Files appear complete or not at all.

    Args:
        to: Folder of the capture; made if missing. Keep slices of one log in it.
        clients: How many of the 2,469 households; None for all. Fewer are a subset of more.
        start: First day (UTC, commit time); default: the day of the snapshot, 2017-01-01.
        until: Day after the last; default: the end of the log, 2018-01-02.
        defects: The share of sales to spoil; `to/defects-<start>_<until>.csv` then lists them.

    Raises:
        UsageError: An argument makes no sense.
        LakehouseError: The package is missing, the slice is empty or `to` cannot be written.
    """
    start = start or basics.OPENING.date()
    until = until or basics.CLOSING.date()
    check(clients, start, until)
    _check_folder(to)
    bounds = microseconds(start), microseconds(until)
    with built_log(clients, defects) as con:
        topics = envelopes.count(con, *bounds)
        if not topics:
            raise LakehouseError(
                f"no event was committed from {start} until {until}",
                f"choose days between {basics.OPENING:%Y-%m-%d} and {basics.CLOSING:%Y-%m-%d}",
            )
        files = [to / topic.table.topic / f"{start}_{until}.jsonl.zst" for topic in topics]
        with _all_or_none(files) as drafts:
            envelopes.write(con, topics, drafts, *bounds)
        listed = to / f"defects-{start}_{until}.csv" if defects else None
        if listed:
            spoiled.write_list(con, listed, *bounds)
    counts = {topic.table.name: topic.messages for topic in topics}
    return CaptureReport(
        files=files,
        events_by_table={table.name: counts.get(table.name, 0) for table in TABLES},
        events=sum(counts.values()),
        first_commit_at=_moment(min(topic.first_us for topic in topics)),
        last_commit_at=_moment(max(topic.last_us for topic in topics)),
        defects=listed,
    )


def check(clients: int | None, start: date, until: date) -> None:
    """Refuses arguments that make no sense."""
    if clients is not None and not 1 <= clients <= package.HOUSEHOLDS:
        raise UsageError(
            f"there is no shop of {clients} clients",
            f"choose 1 to {package.HOUSEHOLDS} clients, or all",
        )
    if start >= until:
        raise UsageError(
            f"the slice from {start} until {until} is empty: its end is not after its start",
            "choose an end date after the start date (the end day itself is left out)",
        )


def _check_folder(to: Path) -> None:
    """Makes the folder, and refuses it before the work if nothing can be written there."""
    try:
        to.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=to):
            pass
    except OSError as error:
        raise LakehouseError(
            f"cannot write capture files to {to}: {error.strerror}",
            "choose a folder that you may write to",
        ) from error


def _build(con: duckdb.DuckDBPyConnection, data: Path, clients: int, defects: float) -> None:
    """Makes the whole log of these clients; each part reads only parts above it."""
    basics.prepare(con)
    package.load(con, data, clients)
    orders.build(con)
    sales.build(con)
    interactions.build(con)
    people.build(con)
    promotions.build(con)
    products.build(con)
    stock.build(con)
    if defects:
        spoiled.spoil(con, defects)
    log.build(con)


@contextmanager
def built_log(clients: int | None, defects: float = 0.0) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database with the events of all tables and their `log`.

    Raises:
        LakehouseError: the package with the purchases is missing.
    """
    data = package.data_folder()
    with duckdb.connect(":memory:", config={"threads": 2}) as con:
        _build(con, data, package.HOUSEHOLDS if clients is None else clients, defects)
        yield con


@contextmanager
def _all_or_none(files: list[Path]) -> Iterator[list[Path]]:
    """Gives a draft for each file; the drafts take the files' names if all of them succeed."""
    drafts = [file.with_name(f".{file.name}.{os.getpid()}.part") for file in files]
    try:
        for file in files:
            file.parent.mkdir(exist_ok=True)
        yield drafts
        for draft, file in zip(drafts, files, strict=True):
            draft.replace(file)
    except (OSError, duckdb.IOException) as error:
        raise LakehouseError(
            f"cannot write capture files to {files[0].parent.parent}: {error}",
            "check the folder's permissions and the free space",
        ) from error
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)


def microseconds(day: date) -> int:
    """Midnight (UTC) in microseconds since 1970."""
    return (day - date(1970, 1, 1)) // timedelta(microseconds=1)


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)
