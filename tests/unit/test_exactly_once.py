"""Each message lands once: after repetition, disorder, crashes, and beside other landers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from deltalake.exceptions import CommitFailedError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.cdc import land as landing
from pipelines.cdc.capture import CaptureFile
from pipelines.cdc.dead_letters import DeadLetters
from pipelines.cdc.land import _TopicLander
from pipelines.cdc.ledger import Ledger
from pipelines.contract import Column, Contracts, Table
from pipelines.lake.tables import create_raw_tables
from tests.unit.events import (
    NARROW,
    TOPIC,
    Lake,
    envelope,
    message,
    thing,
    things,
)


def failing(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


# Exactly once


def test_landing_the_same_folder_twice_changes_nothing(lake: Lake) -> None:
    lines = [*things(0, 3), b"garbage", message(4, None), thing(5, count="x")]
    first = lake.deliver(*lines)
    versions = [lake.table(name).version() for name in (TOPIC, "_dead_letters", "_ledger")]
    second = lake.land()
    assert (first.landed, first.dead, first.batches) == (4, 2, 1)
    assert (second.landed, second.dead, second.batches) == (0, 0, 0)
    assert versions == [lake.table(name).version() for name in (TOPIC, "_dead_letters", "_ledger")]
    assert lake.offsets() == [0, 1, 2, 3]
    lake.assert_reconciled()


def test_a_touched_file_lands_nothing_and_is_read_once(lake: Lake) -> None:
    lake.deliver(*things(0, 3), b"garbage")
    file = lake.inbox / TOPIC / "a.jsonl"
    for seconds in (1_000, 2_000, 3_000):
        os.utime(file, (seconds, seconds))
        report = lake.land()
        assert (report.landed, report.dead, report.replayed) == (0, 0, 5)
        assert lake.land().replayed == 0
    assert lake.offsets() == [0, 1, 2, 3]
    lake.assert_reconciled()


def test_the_same_content_in_another_folder_lands_nothing(lake: Lake) -> None:
    lines = [*things(0, 3), b"garbage"]
    lake.deliver(*lines)
    other = lake.folder / "other"
    lake.write(lines, inbox=other, name="z.jsonl")
    report = lake.land(other)
    assert (report.landed, report.dead, report.replayed) == (0, 0, 5)
    assert len(lake.rows()) == 4
    lake.assert_reconciled()


def test_the_same_messages_in_another_compression_land_nothing(lake: Lake) -> None:
    lake.deliver(*things(0, 3))
    report = lake.deliver(*things(0, 3), name="b.jsonl.gz")
    assert (report.landed, report.replayed) == (0, 4)
    assert lake.offsets() == [0, 1, 2, 3]


def test_another_file_of_the_same_name_size_and_time_lands(lake: Lake) -> None:
    for inbox, offset in (("monday", 0), ("tuesday", 1)):
        file = lake.write([thing(offset)], inbox=lake.folder / inbox)
        os.utime(file, (0, 0))
        lake.land(lake.folder / inbox)
    assert lake.offsets() == [0, 1]


def test_a_file_that_grew_lands_its_new_lines_only(lake: Lake) -> None:
    lines = [*things(0, 2), b"garbage", thing(3, count="x")]
    lake.deliver(*lines)
    # The line that is no UTF-8 changes how the whole block is split.
    report = lake.deliver(*lines, *things(4, 6), b"more \xff")
    assert (report.landed, report.dead, report.replayed) == (3, 1, 5)
    assert lake.offsets() == [0, 1, 2, 4, 5, 6]
    assert lake.reasons() == ["broken_json", "wrong_type", "invalid_utf8"]
    lake.assert_reconciled()


def test_overlapping_files_land_each_message_once(lake: Lake) -> None:
    lake.write([*things(0, 9), message(10, None)], name="a.jsonl")
    lake.write([*things(5, 9), message(10, None), *things(11, 14)], name="b.jsonl")
    report = lake.land()
    assert (report.landed, report.replayed) == (14, 6)
    assert lake.offsets() == [*range(10), *range(11, 15)]
    assert lake.counts() == {"consumed": 15, "landed": 14, "tombstone": 1}


def test_files_in_the_wrong_order_all_land(lake: Lake) -> None:
    assert lake.deliver(*things(100, 199)).landed == 100
    assert lake.deliver(*things(0, 99), name="b.jsonl").landed == 100
    assert lake.offsets() == list(range(200))
    assert lake.deliver(*things(50, 150), name="c.jsonl").landed == 0
    lake.assert_reconciled()


def test_messages_that_fill_a_gap_land(lake: Lake) -> None:
    lake.deliver(thing(0), thing(2), thing(4, count="x"), thing(6))
    report = lake.deliver(*things(0, 3), thing(4, count="x"), *things(5, 6), name="b.jsonl")
    assert (report.landed, report.dead, report.replayed) == (3, 0, 4)
    assert lake.offsets() == [0, 1, 2, 3, 5, 6]
    lake.assert_reconciled()


def test_repeated_offsets_inside_one_file_land_once(lake: Lake) -> None:
    bad = thing(3, count="x")
    report = lake.deliver(*things(0, 2), bad, *things(1, 2), bad, thing(4))
    assert (report.landed, report.dead, report.replayed) == (4, 1, 3)
    assert lake.offsets() == [0, 1, 2, 4]
    lake.assert_reconciled()


def test_a_batch_of_bad_messages_alone_still_moves_the_progress(lake: Lake) -> None:
    lake.deliver(thing(3, count="x"), thing(4, count="y"), message(2, None, partition=1))
    table = lake.table()
    assert table.transaction_version(f"{TOPIC}:0") == 4
    assert table.transaction_version(f"{TOPIC}:1") == 2
    assert lake.rows() == []


def test_the_progress_never_moves_back(lake: Lake) -> None:
    lake.deliver(*things(100, 102))
    lake.deliver(*things(0, 2), name="b.jsonl")
    assert lake.table().transaction_version(f"{TOPIC}:0") == 102
    assert lake.table("_ledger").transaction_version(f"{TOPIC}:0") == 102


def test_the_commit_tells_batch_run_and_schema_version(lake: Lake) -> None:
    lake.deliver(thing(0))
    commit = lake.table().history(1)[0]
    assert {commit["batch_id"]} == lake.batches()
    assert commit["schema_version"] == NARROW.version
    assert {commit["run_id"]} == {row["run_id"] for row in lake.ledger()}


# Crashes

CRASHES: dict[str, tuple[type, str]] = {
    "before its data": (_TopicLander, "_commit_data"),
    "between data and dead letters": (DeadLetters, "add"),
    "between dead letters and ledger": (Ledger, "commit"),
    "before the file is marked as read": (_TopicLander, "_mark_finished"),
}


def crash(lake: Lake, where: str) -> None:
    """Land, and die at that place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*CRASHES[where], failing)
        with pytest.raises(KeyboardInterrupt):
            lake.land()


MIXED = [
    *things(0, 2), thing(3, count="x"), message(4, None), b"garbage", *things(5, 6),
    b"more \xff", *things(0, 1, partition=1),
]  # fmt: skip
MIXED_COUNTS = {"consumed": 11, "landed": 7, "dead": 3, "tombstone": 1}


@pytest.mark.parametrize(
    ("where", "times"),
    [*((where, 1) for where in CRASHES), ("between dead letters and ledger", 2)],
)
def test_a_landing_cut_off_is_completed_by_the_next(lake: Lake, where: str, times: int) -> None:
    lake.write(MIXED)
    for _ in range(times):
        crash(lake, where)
    lake.land()
    assert lake.places() == [(0, 0), (0, 1), (0, 2), (0, 5), (0, 6), (1, 0), (1, 1)]
    assert len(lake.letters()) == 3
    assert lake.counts() == MIXED_COUNTS
    lake.assert_reconciled()
    os.utime(lake.inbox / TOPIC / "a.jsonl")
    assert lake.land().replayed == len(MIXED)
    assert lake.counts() == MIXED_COUNTS


@pytest.mark.parametrize("where", CRASHES)
def test_a_file_that_grew_after_a_crash_lands_whole(lake: Lake, where: str) -> None:
    lake.write(MIXED)
    crash(lake, where)
    lake.deliver(*MIXED, *things(7, 9), b"last words")
    assert lake.offsets() == [0, 1, 2, 5, 6, 7, 8, 9, 0, 1]
    assert lake.counts() == {"consumed": 15, "landed": 10, "dead": 4, "tombstone": 1}
    lake.assert_reconciled()


@pytest.mark.parametrize("where", CRASHES)
def test_a_crash_while_filling_a_gap_loses_nothing(lake: Lake, where: str) -> None:
    lake.deliver(*things(0, 1), *things(8, 9))
    lake.write(things(2, 7), name="b.jsonl")
    crash(lake, where)
    lake.land()
    assert lake.offsets() == list(range(10))
    lake.assert_reconciled()


def test_another_file_delivered_after_a_crash_shares_the_work(lake: Lake) -> None:
    lake.write(things(0, 9))
    crash(lake, "between dead letters and ledger")
    shutil.move(lake.inbox / TOPIC, lake.folder / "kept")
    lake.deliver(*things(5, 14), name="b.jsonl")
    shutil.move(lake.folder / "kept" / "a.jsonl", lake.inbox / TOPIC)
    lake.land()
    assert lake.offsets() == list(range(15))
    lake.assert_reconciled()


def test_a_crash_in_an_unknown_topic_counts_its_letters_once(lake: Lake) -> None:
    topic = "shop.public.unheard_of"
    lake.write([*(message(n, "x", topic=topic) for n in range(3)), b"garbage"], topic=topic)
    crash(lake, "between dead letters and ledger")
    lake.land()
    assert lake.counts(topic) == {"consumed": 4, "dead": 4}
    assert len(lake.letters()) == 4


# Several landers


def topic_lander(lake: Lake, run_id: str) -> tuple[_TopicLander, Callable[[], None]]:
    """A lander with a connection and table objects of its own, as another process has."""
    create_raw_tables(lake.raw, lake.contracts)
    connection = landing.connect(lake.settings)
    lander = _TopicLander(
        TOPIC, lake.contracts, lake.settings, connection, lake.masker, Ledger(lake.raw), run_id
    )
    return lander, connection.close


@pytest.mark.parametrize("where", CRASHES)
def test_a_lander_overtaken_by_another_doubles_nothing(
    lake: Lake, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = CaptureFile(TOPIC, lake.write(MIXED))
    slow, close_slow = topic_lander(lake, "slow")
    fast, close_fast = topic_lander(lake, "fast")
    owner, name = CRASHES[where]
    genuine = getattr(owner, name)

    def overtaken(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(owner, name, genuine)
        fast.land_file(file)
        return genuine(*args, **kwargs)

    monkeypatch.setattr(owner, name, overtaken)
    slow.land_file(file)
    close_slow()
    close_fast()
    assert len(lake.rows()) == 7
    assert len(lake.letters()) == 3
    assert lake.counts() == MIXED_COUNTS
    lake.assert_reconciled()


def test_a_lander_that_read_its_progress_before_another_landed_starts_anew(lake: Lake) -> None:
    stale, close_stale = topic_lander(lake, "stale")
    fresh, close_fresh = topic_lander(lake, "fresh")
    first = CaptureFile(TOPIC, lake.write(things(0, 9), name="a.jsonl"))
    second = CaptureFile(TOPIC, lake.write(things(5, 14), name="b.jsonl"))
    fresh.land_file(first)
    stale.land_file(second)
    fresh.land_file(second)
    stale.land_file(first)
    close_stale()
    close_fresh()
    assert lake.offsets() == list(range(15))
    assert (stale.report.landed, stale.report.replayed) == (5, 5)
    lake.assert_reconciled()


def test_a_stale_table_object_cannot_commit_over_progress_it_has_not_seen(lake: Lake) -> None:
    create_raw_tables(lake.raw, lake.contracts)
    stale = lake.table()
    lake.deliver(thing(0))
    with pytest.raises(CommitFailedError):
        landing.append(
            stale,
            lake.table().to_pyarrow_table(),
            metadata={},
            transactions={f"{TOPIC}:0": 0},
        )
    assert lake.offsets() == [0]


# Any order, repetition and cut

SMALL = Table(
    name="small", server="shop", namespace="public", connector="postgres", key=("id",),
    columns=(Column(name="id", type="bigint"), Column(name="count", type="integer")), file="test",
)  # fmt: skip


def small(offset: int, payload: dict[str, Any] | None) -> bytes:
    return message(offset, payload, key={"id": 1}, topic=SMALL.topic)


# Offsets 6 and 7 are markers of a transaction: nobody is delivered them.
HISTORY = [
    *(small(n, envelope(n, {"id": 1, "count": n}, op="u")) for n in (0, 1)),
    small(2, None),
    small(3, envelope(3, {"id": 1, "count": "x"})),
    small(4, envelope(4, None, op="t")),
    small(5, envelope(5, {"id": 1, "count": 5}, lsn=None)),
    *(small(n, envelope(n, {"id": 1, "count": n}, op="u")) for n in (8, 9, 10)),
]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    slices=st.lists(
        st.tuples(st.integers(0, len(HISTORY) - 1), st.integers(1, len(HISTORY))), max_size=3
    ),
    cut=st.integers(1, len(HISTORY) - 1),
    order=st.randoms(use_true_random=False),
    together=st.booleans(),
)
def test_however_a_topic_is_cut_repeated_and_shuffled_it_lands_once(
    tmp_path_factory: pytest.TempPathFactory,
    slices: list[tuple[int, int]],
    cut: int,
    order: Random,
    together: bool,
) -> None:
    lake = Lake(tmp_path_factory.mktemp("any"), Contracts([SMALL]))
    files = [HISTORY[:cut], HISTORY[cut:]]
    files += [HISTORY[start : start + length] for start, length in slices]
    order.shuffle(files)
    for number, lines in enumerate(files):
        lake.write(lines, topic=SMALL.topic, name=f"{number}.jsonl")
        if not together:
            lake.land()
    lake.land()
    assert lake.offsets(SMALL.topic) == [0, 1, 4, 8, 9, 10]
    assert sorted(lake.reasons()) == ["missing_source_position", "wrong_type"]
    assert lake.counts(SMALL.topic) == {
        "consumed": 9, "landed": 5, "truncate": 1, "tombstone": 1, "dead": 2,
    }  # fmt: skip
    lake.assert_reconciled()
