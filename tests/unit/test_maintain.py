"""Maintenance changes how tables lie on disk, and nothing that anybody reads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Thread

import duckdb
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from typer.testing import CliRunner

from pipelines import cli
from pipelines import maintain as maintenance
from pipelines.cdc import books, land
from pipelines.cdc.ledger import Ledger
from pipelines.errors import LakehouseError, UsageError
from pipelines.lake import lock
from pipelines.lake.inference import SCHEMAS
from pipelines.lake.publish import Manifest, Source, publish
from pipelines.lake.tables import EXPIRY
from pipelines.maintain import TableReport, geometry, kept, maintain, targets
from tests.unit.events import TOPIC, Lake, things

RAW = "raw.shop_public_thing"
AT_ONCE = timedelta(0)
A_WEEK = timedelta(days=7)


def deliver_batches(lake: Lake, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        lake.deliver(*things(2 * number, 2 * number + 1), b"broken", name=f"{number:03}.jsonl")


def maintained(
    lake: Lake, *names: str, keep: timedelta = A_WEEK, dry_run: bool = False
) -> dict[str, TableReport]:
    chosen = targets(lake.settings, lake.contracts, names)
    reports = maintain(lake.settings, chosen, "run of maintenance", keep=keep, dry_run=dry_run)
    return {report.table: report for report in reports}


def aged(folder: Path, days: int) -> None:
    """Make every file so many days old."""
    then = time.time() - days * 86_400
    for path in folder.rglob("*"):
        os.utime(path, (then, then))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def log_versions(path: Path) -> list[int]:
    return sorted(int(file.stem) for file in (path / "_delta_log").glob("*.json"))


def test_compaction_keeps_every_row_and_takes_the_place_of_many_files(lake: Lake) -> None:
    deliver_batches(lake, 4)
    before = lake.rows(), sorted(map(str, lake.ledger())), len(lake.letters())
    reports = maintained(lake)
    assert (lake.rows(), sorted(map(str, lake.ledger())), len(lake.letters())) == before
    inferred = {f"raw.inference_{name}" for name in SCHEMAS}
    assert set(reports) == {RAW, "raw._ledger", "raw._dead_letters"} | inferred
    assert (reports[RAW].before.files, reports[RAW].after.files) == (4, 1)
    assert reports["raw._ledger"].after.files == reports["raw._dead_letters"].after.files == 1
    assert not any(report.files_removed or report.skipped for report in reports.values())
    commit = lake.table().history(1)[0]
    assert (commit["operation"], commit["run_id"]) == ("OPTIMIZE", "run of maintenance")
    lake.assert_reconciled()


def test_maintaining_again_commits_nothing(lake: Lake) -> None:
    deliver_batches(lake, 2)
    maintained(lake)
    before = tree(lake.raw)
    reports = maintained(lake)
    assert tree(lake.raw) == before
    assert all(report.before == report.after for report in reports.values())


def test_nothing_lands_twice_after_maintenance_and_the_books_agree(lake: Lake) -> None:
    deliver_batches(lake, 3)
    maintained(lake, keep=AT_ONCE)
    again = lake.folder / "again"
    lake.write(things(0, 5), name="renamed.jsonl", inbox=again)
    report = lake.land(again)
    assert (report.landed, report.replayed) == (0, 6)
    deliver_batches(lake, 1, first=3)
    assert lake.offsets() == list(range(8))
    lake.assert_reconciled()


def test_the_ledger_tells_the_same_progress_and_overview(lake: Lake) -> None:
    deliver_batches(lake, 3)
    held, overview = books.open_ledger(lake.raw, lake.contracts)
    before = Ledger(lake.raw).progress(TOPIC)
    held.progress(TOPIC)
    maintained(lake, keep=AT_ONCE)
    assert Ledger(lake.raw).progress(TOPIC) == before
    # A landing that is on has the table open since before the log was cut.
    assert held.progress(TOPIC) == before
    _, after = books.open_ledger(lake.raw, lake.contracts)
    assert sorted(map(str, after.to_pylist())) == sorted(map(str, overview.to_pylist()))


def test_app_transactions_outlive_the_log_entries_that_brought_them(lake: Lake) -> None:
    deliver_batches(lake, 4)
    app = f"{TOPIC}:0"
    (reached,) = {lake.table(folder).transaction_version(app) for folder in (TOPIC, "_ledger")}
    letters = lake.table("_dead_letters").transaction_version("_dead_letters")
    reports = maintained(lake, keep=AT_ONCE)
    assert reports[RAW].before.log_entries == 5
    assert reports[RAW].after.log_entries == 1
    assert log_versions(lake.raw / TOPIC) == [lake.table().version()]
    assert reached == 7
    assert lake.table().transaction_version(app) == reached
    assert lake.table("_ledger").transaction_version(app) == reached
    assert lake.table("_dead_letters").transaction_version("_dead_letters") == letters


def test_a_table_whose_transactions_expire_is_left_alone(lake: Lake) -> None:
    deliver_batches(lake, 2)
    lake.table().alter.set_table_properties({EXPIRY: "interval 0 days"})
    before = tree(lake.raw / TOPIC)
    assert EXPIRY in maintained(lake, keep=AT_ONCE)[RAW].skipped[0]
    assert tree(lake.raw / TOPIC) == before


def test_a_landing_that_began_before_a_compaction_commits_after_it(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both orders: the landing commits within the compaction, and the other way round."""
    deliver_batches(lake, 3)
    compact = DeltaTable.optimize.fget(lake.table()).__class__.compact  # type: ignore[attr-defined]

    def landing_first(self: object, **options: object) -> object:
        # The table that is compacted is open already.
        monkeypatch.undo()
        deliver_batches(lake, 1, first=3)
        return compact(self, **options)

    monkeypatch.setattr("deltalake.table.TableOptimizer.compact", landing_first)
    maintained(lake, RAW)
    assert lake.offsets() == list(range(8))

    append: Callable[..., None] = land.append

    def compaction_first(*given: object, **named: object) -> None:
        maintained(lake)
        append(*given, **named)

    monkeypatch.setattr(land, "append", compaction_first)
    deliver_batches(lake, 2, first=4)
    monkeypatch.undo()
    assert lake.offsets() == list(range(12))
    lake.assert_reconciled()


def test_landings_go_on_while_tables_are_compacted(lake: Lake) -> None:
    deliver_batches(lake, 1)
    lander = Thread(target=deliver_batches, args=(lake, 8, 1))
    lander.start()
    while lander.is_alive():
        maintained(lake)
    lander.join()
    maintained(lake)
    assert lake.offsets() == list(range(18))
    lake.assert_reconciled()


def test_a_compaction_that_keeps_losing_is_skipped_with_a_word(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver_batches(lake, 2)

    def losing(path: Path, run_id: str) -> None:
        raise CommitFailedError("too late")

    monkeypatch.setattr(maintenance, "_compact", losing)
    report = maintained(lake, RAW)[RAW]
    assert report.skipped == ["compaction: others keep committing (too late)"]
    assert report.before.files == report.after.files == 2


def test_two_maintenances_never_compact_at_the_same_time(lake: Lake) -> None:
    deliver_batches(lake, 1)
    with (
        lock.exclusive(lake.settings.state, "lakehouse maintain", name=lock.MAINTENANCE),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(lock, "_POLL_SECONDS", 0.0)
        patch.setattr(lock.time, "monotonic", iter(range(0, 1000, 10)).__next__)
        with pytest.raises(lock.Busy, match="lakehouse maintain is running"):
            maintained(lake)
        # It keeps away neither runs nor readers of staging.
        with lock.exclusive(lake.settings.state, "lakehouse run", 0):
            assert lock.owner(lake.settings.state) is not None
        assert lock.owner(lake.settings.state) is None


def test_rows_doubled_by_a_foreign_compaction_are_told(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """delta-rs lets both commit; when it refuses one, this check can go."""
    deliver_batches(lake, 2)
    compact = DeltaTable.optimize.fget(lake.table()).__class__.compact  # type: ignore[attr-defined]

    def foreign_first(self: object, **options: object) -> object:
        compact(lake.table().optimize)
        return compact(self, **options)

    monkeypatch.setattr("deltalake.table.TableOptimizer.compact", foreign_first)
    with pytest.raises(LakehouseError, match="from 4 to 8 rows"):
        maintained(lake, RAW)


def test_replaced_files_stay_for_the_time_kept_and_then_go(lake: Lake) -> None:
    deliver_batches(lake, 3)
    orphan = next((lake.raw / TOPIC).glob("year=*/month=*")) / "never-committed.parquet"
    orphan.write_bytes(b"x")
    assert maintained(lake, RAW)[RAW].files_removed == 0
    os.utime(orphan, (0, 0))
    assert maintained(lake, RAW)[RAW].files_removed == 1
    assert not orphan.exists()
    assert maintained(lake, RAW, keep=AT_ONCE)[RAW].files_removed == 3
    assert len(list((lake.raw / TOPIC).rglob("year=*/**/*.parquet"))) == 1
    assert lake.offsets() == list(range(6))


def test_a_longer_time_kept_holds_for_files_that_the_checkpoint_has_forgotten(lake: Lake) -> None:
    deliver_batches(lake, 3)
    aged(lake.raw / TOPIC, days=50)
    former = lake.table()
    maintained(lake, RAW, keep=timedelta(days=60))
    assert all(Path(uri.removeprefix("file://")).exists() for uri in former.file_uris())
    # The version of 50 days ago was the newest one 40 days ago: a reader may have begun then.
    maintained(lake, RAW, keep=timedelta(days=40))
    assert DeltaTable(str(lake.raw / TOPIC), version=3).to_pyarrow_table().num_rows == 6


def published(lake: Lake, connection: duckdb.DuckDBPyConnection) -> Manifest:
    return publish(
        connection, [Source("marts", "daily", "day")], lake.settings.published,
        run_id="a run", build_id="a build", business_date=None,
    )  # fmt: skip


def test_what_the_manifest_names_can_be_read_though_newer_versions_are_there(lake: Lake) -> None:
    """As after a publication that died before it replaced the manifest."""
    lake.settings.home.mkdir()
    path = lake.settings.published / "marts" / "daily"
    with duckdb.connect() as connection:
        connection.execute("create schema marts; create table marts.daily (day date, n int)")
        connection.execute("insert into marts.daily values ('2017-01-01', 0), ('2017-01-02', 0)")
        published(lake, connection)
        for n in (1, 2):
            connection.execute(f"update marts.daily set n = {n}")
            manifest = published(lake, connection)
        named = manifest.tables["marts.daily"].version
        rows = DeltaTable(str(path), version=named).to_pyarrow_table()
        kept_manifest = (lake.settings.published / "manifest.json").read_text()
        connection.execute("update marts.daily set n = 9")
        published(lake, connection)
    (lake.settings.published / "manifest.json").write_text(kept_manifest)
    reports = maintained(lake, keep=AT_ONCE)
    report = reports["marts.daily"]
    assert report.files_removed == 4
    assert log_versions(path) == [named, named + 1]
    assert report.before.files == report.after.files == 2
    assert report.skipped == ["compaction: publication writes whole parts"]
    assert DeltaTable(str(path), version=named).to_pyarrow_table() == rows
    # Its version has not moved: the next publication has no reason to write it whole.
    assert DeltaTable(str(path)).version() == named + 1


def test_a_reader_of_the_former_manifest_is_served_for_the_time_kept(lake: Lake) -> None:
    lake.settings.home.mkdir()
    path = lake.settings.published / "marts" / "daily"
    with duckdb.connect() as connection:
        connection.execute("create schema marts; create table marts.daily (day date, n int)")
        connection.execute("insert into marts.daily values ('2017-01-01', 0)")
        published(lake, connection)
        connection.execute("update marts.daily set n = 1")
        published(lake, connection)
        aged(lake.settings.published, days=40)
        connection.execute("update marts.daily set n = 2")
        published(lake, connection)
    maintained(lake)
    former = DeltaTable(str(path), version=1).to_pyarrow_table()
    assert former["n"].to_pylist() == [1]


def test_a_dry_run_changes_nothing_and_tells_what_would_be_done(lake: Lake) -> None:
    deliver_batches(lake, 3)
    before = tree(lake.folder)
    told = maintained(lake, RAW, dry_run=True)[RAW]
    assert tree(lake.folder) == before
    assert told.after.files == maintained(lake, RAW)[RAW].after.files
    told = maintained(lake, RAW, keep=AT_ONCE, dry_run=True)[RAW]
    done = maintained(lake, RAW, keep=AT_ONCE)[RAW]
    assert (told.files_removed, told.after) == (done.files_removed, done.after)


def test_tables_are_known_by_sql_name_or_topic_and_unknown_ones_are_a_usage_error(
    lake: Lake,
) -> None:
    deliver_batches(lake, 1)
    assert set(maintained(lake, TOPIC)) == set(maintained(lake, RAW)) == {RAW}
    with pytest.raises(UsageError, match=r"no table raw\.nothing"):
        maintained(lake, RAW, "raw.nothing")


def test_less_than_a_week_needs_force_and_less_than_an_hour_is_refused() -> None:
    assert kept(168) == A_WEEK
    assert kept(1, force=True) == timedelta(hours=1)
    with pytest.raises(UsageError, match="less than a week"):
        kept(167)
    with pytest.raises(UsageError, match="less than 1"):
        kept(0, force=True)


def test_the_command_prints_a_table_or_json(lake: Lake) -> None:
    deliver_batches(lake, 2)

    def run(*arguments: str) -> str:
        command = ["--home", str(lake.settings.home), "maintain", *arguments]
        return CliRunner().invoke(cli.app, command, catch_exceptions=False).stdout

    assert '"files_removed": 0' in run("raw._ledger", "--json")
    assert "What would be done" in run("--dry-run")
    assert "raw._ledger" in run()
    assert geometry(lake.raw / "_ledger").files == 1
