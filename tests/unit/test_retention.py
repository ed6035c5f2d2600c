"""Retention: what is old and superseded goes from the raw table; what tells the state stays."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from deltalake.exceptions import CommitFailedError

from pipelines import retention, transform
from pipelines.cdc import books
from pipelines.cdc.ledger import Ledger
from pipelines.contract import Column, Contracts, Table
from pipelines.errors import LakehouseError
from pipelines.lake import lock
from pipelines.maintain import TableReport
from pipelines.retention import retire
from tests.unit.events import BRIEF, NARROW, Lake, envelope, message
from tests.unit.test_maintain import RAW, maintained, tree

KEPT = NARROW.model_copy(update={"retention_days": 365})
NOW_US = int(time.time() * 1_000_000)


def change(offset: int, key: int, op: str = "u", **source: Any) -> bytes:
    """A change of the thing of this key; the count tells the offset."""
    row = BRIEF | {"id": key, "count": offset}
    images = {"after": None, "before": row} if op == "d" else {"after": row}
    return message(offset, envelope(offset, op=op, **images, **source), key={"id": key})


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake whose contract keeps superseded changes for a year; its path must be quoted."""
    return Lake(tmp_path / "it's a lake", Contracts([KEPT]))


def retire_all(lake: Lake, table: Table = KEPT) -> int:
    return retire(lake.settings, table, "run of maintenance")


def report_of(lake: Lake, **how: Any) -> TableReport:
    return maintained(lake, RAW, **how)[RAW]


def assert_open(lake: Lake) -> None:
    """The lake's books agree, and the next landing takes what is new, and only that."""
    lake.assert_reconciled()
    books.open_ledger(lake.raw, lake.contracts)
    report = lake.deliver(change(10, 1), change(100, 77), name="again.jsonl")
    assert (report.replayed, report.landed) == (1, 1)
    lake.assert_reconciled()


def test_superseded_changes_go_and_the_last_of_each_key_stays(lake: Lake) -> None:
    lake.deliver(change(10, 1, "c"), change(11, 1), change(12, 2, "c"), change(13, 3, "c"))
    lake.deliver(change(14, 1), change(15, 3, "d"), name="b.jsonl")
    lake.land()
    report = report_of(lake)
    assert report.retired == 3
    assert lake.offsets() == [12, 14, 15]
    counts = lake.counts()
    assert (counts["consumed"], counts["landed"], counts["retired"]) == (6, 3, 3)
    assert_open(lake)


def test_the_next_build_makes_everything_anew(lake: Lake) -> None:
    lake.deliver(change(10, 1, "c"), change(11, 1))
    lake.settings.state.mkdir(exist_ok=True)
    lake.settings.warehouse.write_bytes(b"what was built of the rows that go")
    before = transform._news(lake.settings)
    assert retire_all(lake) == 1
    assert transform._news(lake.settings) != before
    assert not lake.settings.warehouse.exists()


def test_the_horizon_is_the_first_change_that_is_young_enough(lake: Lake) -> None:
    young = {"ts_us": NOW_US, "ts_ms": NOW_US // 1000}
    lake.deliver(
        change(10, 1, "c"), change(11, 1), change(12, 1, **young), change(13, 1), change(14, 1)
    )
    assert retire_all(lake) == 1
    # 11 is the state that the kept history begins with; the clock ran backwards before 13.
    assert lake.offsets() == [11, 12, 13, 14]


def test_files_of_younger_months_stay_as_they_are(lake: Lake) -> None:
    young = {"ts_us": NOW_US, "ts_ms": NOW_US // 1000}
    lake.deliver(change(10, 1, "c"), change(11, 1))
    lake.deliver(change(12, 1, **young), change(13, 1, **young), name="b.jsonl")
    (file,) = [uri for uri in lake.table().file_uris() if "year=2017" not in uri]
    assert retire_all(lake) == 1
    assert file in lake.table().file_uris()
    assert len(lake.table().file_uris()) == 2


def test_without_anything_to_retire_nothing_is_committed(lake: Lake) -> None:
    lake.deliver(change(10, 1, "c"), change(11, 2, "c"))
    assert retire_all(lake) == 0
    lake.deliver(change(12, 2), name="b.jsonl")
    assert retire_all(lake) == 1
    before = tree(lake.folder)
    assert retire_all(lake) == 0
    assert tree(lake.folder) == before


def test_a_table_whose_contract_tells_no_days_keeps_everything(lake: Lake) -> None:
    lake.deliver(change(10, 1, "c"), change(11, 1))
    assert retire_all(lake, NARROW) == 0
    assert lake.offsets() == [10, 11]


def test_a_dry_run_tells_how_many_rows_would_go(lake: Lake) -> None:
    lake.deliver(change(10, 1, "c"), change(11, 1))
    before = tree(lake.raw)
    assert report_of(lake, dry_run=True).retired == 1
    assert tree(lake.raw) == before


def test_truncates_and_the_ends_of_snapshots_stay(lake: Lake) -> None:
    lake.deliver(
        change(10, 1, "r", snapshot="last"), change(11, 1),
        message(12, envelope(12, None, op="t")), change(13, 1, "c"), change(14, 1),
    )  # fmt: skip
    assert retire_all(lake) == 2
    assert lake.offsets() == [10, 12, 14]
    assert_open(lake)


def test_a_table_without_key_keeps_what_is_young(tmp_path: Path) -> None:
    keyless = KEPT.model_copy(update={"key": ()})
    lake = Lake(tmp_path, Contracts([keyless]))
    lake.deliver(change(10, 1, "c"), change(11, 1), change(12, 1, ts_us=NOW_US))
    assert retire_all(lake, keyless) == 2
    assert lake.offsets() == [12]


def test_changes_whose_values_later_ones_take_over_stay(tmp_path: Path) -> None:
    columns = (*KEPT.columns[:1], Column(name="label", type="varchar", toast=True))
    toasted = KEPT.model_copy(update={"columns": columns})
    lake = Lake(tmp_path, Contracts([toasted]))

    def update(offset: int, key: int, label: str, **more: Any) -> bytes:
        event = envelope(offset, {"id": key, "label": label}, op=more.pop("op", "u"))
        return message(offset, event, key={"id": key}, **more)

    gone = toasted.unavailable_marker
    headers = ["__debezium.oldkey", json.dumps({"id": 3})]
    lake.deliver(
        update(10, 1, "a"), update(11, 1, "b"), update(12, 1, gone), update(13, 1, gone),
        update(20, 3, "c"), update(21, 3, "d"), update(22, 4, gone, op="c", headers=headers),
    )  # fmt: skip
    assert retire_all(lake, toasted) == 1
    # The label of 1 is that of 11; what 4 took over from 3 is not looked into.
    assert lake.offsets() == [11, 12, 13, 20, 21, 22]


# Beside others, and after crashes


def test_after_a_crash_before_the_rewriting_it_is_finished_by_the_next(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.deliver(change(10, 1, "c"), change(11, 1))
    with monkeypatch.context() as patch:
        patch.setattr(retention, "write_deltalake", interrupt)
        with pytest.raises(KeyboardInterrupt):
            retire_all(lake)
    assert (lake.counts()["retired"], lake.offsets()) == (1, [10, 11])
    assert lake.deliver(change(12, 2, "c"), name="b.jsonl").landed == 1
    assert retire_all(lake) == 1
    assert lake.offsets() == [11, 12]
    assert lake.counts()["retired"] == 1
    assert_open(lake)


def interrupt(*args: object, **options: object) -> None:
    raise KeyboardInterrupt


def test_what_lands_meanwhile_is_kept(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.deliver(change(10, 1, "c"), change(11, 1))
    count, late = retention._count, [change(12, 1)]

    def overtaken(*args: Any) -> None:
        count(*args)
        if late:
            lake.deliver(late.pop(), name="b.jsonl")

    monkeypatch.setattr(retention, "_count", overtaken)
    assert retire_all(lake) == 2
    assert lake.offsets() == [12]
    assert lake.counts()["retired"] == 2
    assert_open(lake)


def test_rows_that_no_ledger_counts_yet_stay(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "commit", interrupt)
        with pytest.raises(KeyboardInterrupt):
            lake.deliver(change(10, 1, "c"), change(11, 1))
    assert retire_all(lake) == 0
    assert lake.land().landed == 2
    assert retire_all(lake) == 1
    assert_open(lake)


def test_books_that_do_not_agree_are_refused_as_a_landing_would(lake: Lake) -> None:
    lake.deliver(change(10, 1, "c"), change(11, 1))
    shutil.rmtree(lake.raw / "_ledger")
    with pytest.raises(LakehouseError, match="_ledger is gone"):
        retire_all(lake)
    assert not (lake.raw / "_ledger").exists()


def test_a_table_that_others_keep_committing_to_is_skipped(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.deliver(change(10, 1, "c"), change(11, 1))

    def refuse(*args: object, **options: object) -> None:
        raise CommitFailedError("a version was there before")

    monkeypatch.setattr(retention, "write_deltalake", refuse)
    report = report_of(lake)
    assert report.skipped == ["retention: a version was there before"]
    assert report.retired == 0


def test_during_a_run_nothing_is_retired(lake: Lake) -> None:
    lake.deliver(change(10, 1, "c"), change(11, 1))
    with lock.exclusive(lake.settings.state, "lakehouse run"):
        report = report_of(lake)
    assert report.retired == 0
    assert report.skipped[0].startswith("retention: lakehouse run is running")
    assert lake.offsets() == [10, 11]
