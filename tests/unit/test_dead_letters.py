"""Dead letters are replayed and dropped: once, at their own place, and told apart ever after."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.cdc import replay as replaying
from pipelines.cdc import resolutions
from pipelines.cdc.dead_letters import reasons
from pipelines.cdc.land import _TopicLander
from pipelines.cdc.ledger import Ledger
from pipelines.cdc.resolutions import Resolutions
from pipelines.contract import Contracts
from pipelines.errors import LakehouseError, UsageError
from pipelines.lake import lock
from tests.unit.events import BRIEF, NARROW, TOPIC, Lake, envelope, message, thing, things

BAD = thing(1, count="x")
GOOD = thing(1, count=11)


def with_contract(lake: Lake, *tables: Any) -> Lake:
    return Lake(lake.folder, Contracts(tables))


def letter_id(lake: Lake, number: int = 0) -> str:
    return str(lake.letters()[number]["letter_id"])


@pytest.fixture
def repairable(lake: Lake) -> Lake:
    """Bad messages only, under a contract that is repaired afterwards: their topic was unknown."""
    nobody = with_contract(lake)
    nobody.deliver(*things(0, 2), message(3, None), thing(4, count="x"), *things(0, 1, partition=1))
    assert nobody.counts() == {"consumed": 7, "dead": 7}
    return lake


REPAIRED_COUNTS = {"consumed": 7, "landed": 5, "tombstone": 1, "dead": 1}
REPAIRED_PLACES = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


# Repaired contracts


def test_letters_land_at_their_places_once_the_contract_is_repaired(repairable: Lake) -> None:
    report = repairable.replay()
    assert report.counts == {"landed": 5, "tombstone": 1}
    assert list(report.still_dead.values()) == ["count: x is no integer"]
    assert repairable.places() == REPAIRED_PLACES
    assert repairable.counts() == REPAIRED_COUNTS
    assert [row["_source_ts_us"] for row in repairable.rows()[:3]] == sorted(
        row["_source_ts_us"] for row in repairable.rows()[:3]
    )
    repairable.assert_reconciled()


def test_a_letter_lands_in_the_epoch_in_which_it_came(lake: Lake) -> None:
    lake.deliver(thing(0, label="__debezium_unavailable_value"))
    columns = tuple(
        column.model_copy(update={"toast": False}) if column.name == "label" else column
        for column in NARROW.columns
    )
    later = with_contract(lake, NARROW.model_copy(update={"columns": columns, "epoch": 1}))
    later.deliver(thing(1), name="b.jsonl")
    assert later.replay().counts == {"landed": 1}
    assert [row["_epoch"] for row in later.rows()] == [0, 1]


def test_a_replayed_batch_is_staged_by_its_id_under_its_table(repairable: Lake) -> None:
    repairable.replay()
    batches = {row["_batch_id"] for row in repairable.rows()}
    assert len(batches) == 1
    named = {(row["batch_id"], row["table_name"]) for row in repairable.ledger()}
    assert {(batch, TOPIC) for batch in batches} <= named


def test_replaying_twice_changes_nothing(repairable: Lake) -> None:
    repairable.replay()
    names = (TOPIC, "_dead_letters", "_dead_letter_resolutions", "_ledger")
    versions = [repairable.table(name).version() for name in names]
    assert repairable.replay().counts == {}
    assert versions == [repairable.table(name).version() for name in names]


def test_resolved_letters_are_marked_and_not_erased(repairable: Lake) -> None:
    version = repairable.table("_dead_letters").version()
    repairable.replay()
    assert repairable.table("_dead_letters").version() == version
    assert len(repairable.letters()) == 7
    assert [x["offset"] for x in repairable.open_letters()] == [4]
    assert [x["resolution"] for x in repairable.resolutions()] == ["replayed"] * 6
    assert reasons(repairable.raw).to_pylist() == [
        {"topic": TOPIC, "reason_code": "unknown_topic", "letters": 1}
    ]


def test_the_messages_of_replayed_letters_are_known_when_they_come_again(repairable: Lake) -> None:
    repairable.replay()
    os.utime(repairable.inbox / TOPIC / "a.jsonl")
    report = repairable.deliver(
        *things(0, 2), message(3, None), thing(4, count=4), *things(0, 2, partition=1),
        name="b.jsonl",
    )  # fmt: skip
    assert (report.landed, report.dead, report.replayed) == (1, 0, 14)
    assert repairable.places() == [*REPAIRED_PLACES, (1, 2)]
    assert len(repairable.letters()) == 7
    repairable.assert_reconciled()


def test_only_the_chosen_letters_are_replayed(repairable: Lake) -> None:
    ids = [x["letter_id"] for x in repairable.letters()]
    assert repairable.replay(topic="shop.public.other").counts == {}
    assert repairable.replay(reason_code="wrong_type").counts == {}
    assert repairable.replay(since=datetime.now(UTC) + timedelta(hours=1)).counts == {}
    assert repairable.replay(ids=(ids[1], ids[2][:8])).counts == {"landed": 2}
    assert repairable.offsets() == [1, 2]
    with pytest.raises(UsageError, match="no dead letters of this choice begin with nowhere"):
        repairable.replay(ids=("nowhere",))
    repairable.assert_reconciled()


def test_a_truncate_is_replayed_as_such(lake: Lake) -> None:
    with_contract(lake).deliver(message(0, envelope(0, None, op="t")))
    assert lake.replay().counts == {"truncate": 1}
    assert lake.row()["_op"] == "t"
    lake.assert_reconciled()


# Repaired lines


@pytest.mark.parametrize("neighbours", ["dense", "with a hole"])
def test_a_repaired_line_lands_at_the_place_of_its_letter(lake: Lake, neighbours: str) -> None:
    lines = [thing(0), BAD, thing(2 if neighbours == "dense" else 5)]
    lake.deliver(*lines)
    assert lake.replay(GOOD + b"\n", ids=(letter_id(lake),)).counts == {"landed": 1}
    assert [row["count"] for row in lake.rows() if row["_offset"] == 1] == [11]
    for number, again in enumerate((BAD, GOOD)):
        assert lake.deliver(again, name=f"again-{number}.jsonl").replayed == 1
    assert len(lake.rows()) == 3
    assert len(lake.letters()) == 1
    lake.assert_reconciled()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (thing(2, count=1), "another partition or offset"),
        (thing(1, count=1, partition=1), "another partition or offset"),
        (message(1, envelope(1, BRIEF), topic="shop.public.other"), "cannot land either"),
        (thing(1, count="y"), "cannot land either: count: y is no integer"),
        (b"garbage", "cannot land either: broken_json"),
        (GOOD + b"\n" + GOOD, "one line; here are 2"),
        (b"", "one line; here are 0"),
        (GOOD.replace(b"one", b"\xff"), "no UTF-8"),
    ],
)
def test_a_repaired_line_for_another_message_or_still_bad_is_refused(
    lake: Lake, line: bytes, why: str
) -> None:
    lake.deliver(thing(0), BAD)
    with pytest.raises(UsageError, match=why):
        lake.replay(line, ids=(letter_id(lake),))
    assert lake.offsets() == [0]
    assert len(lake.open_letters()) == 1
    lake.assert_reconciled()


def test_a_repaired_line_takes_the_place_of_one_letter_only(lake: Lake) -> None:
    lake.deliver(BAD, thing(2, count="x"))
    with pytest.raises(UsageError, match="2 open ones are chosen"):
        lake.replay(GOOD)


def test_a_letter_without_coordinates_lands_only_by_a_repaired_line_that_has_them(
    lake: Lake,
) -> None:
    lake.deliver(thing(0), b"garbage", thing(2), b"more garbage")
    assert lake.replay().placeless == [letter_id(lake, 0), letter_id(lake, 1)]
    assert lake.replay(GOOD, ids=(letter_id(lake, 0),)).counts == {"landed": 1}
    # Above all that the ledger knows, where a landing would not look into the raw table.
    assert lake.replay(thing(3), ids=(letter_id(lake, 1),)).counts == {"landed": 1}
    assert lake.counts() == {"consumed": 4, "landed": 4}
    lake.assert_reconciled()
    assert lake.deliver(*things(3, 4), name="b.jsonl").landed == 1
    assert lake.deliver(*things(0, 4), b"garbage", name="c.jsonl").landed == 0
    assert lake.offsets() == [0, 1, 2, 3, 4]
    lake.assert_reconciled()


def test_a_repaired_line_cannot_take_the_place_of_another_message(lake: Lake) -> None:
    lake.deliver(thing(0), b"garbage", thing(3), thing(4, count="x"))
    garbage = letter_id(lake)
    for line in (thing(0), thing(3), thing(4)):
        with pytest.raises(UsageError, match="consumed already"):
            lake.replay(line, ids=(garbage,))
    assert lake.offsets() == [0, 3]
    lake.assert_reconciled()


# Dropped letters


def test_a_dropped_letter_stays_counted_as_dead_and_is_never_replayed(repairable: Lake) -> None:
    assert repairable.drop(ids=(letter_id(repairable),)) == 1
    assert repairable.drop(ids=(letter_id(repairable),)) == 0
    assert repairable.replay().counts == {"landed": 4, "tombstone": 1}
    assert repairable.counts()["dead"] == 2
    assert [x["because"] for x in repairable.resolutions() if x["resolution"] == "dropped"] == [
        "not needed"
    ]
    assert repairable.deliver(*things(0, 2), name="b.jsonl").landed == 0
    assert repairable.offsets() == [1, 2, 0, 1]
    repairable.assert_reconciled()


# Crashes, and others at the same time

CRASHES: dict[str, tuple[Any, str]] = {
    "before its rows": (replaying, "append"),
    "between rows and marks": (Resolutions, "add"),
    "between marks and ledger": (Ledger, "commit"),
}


def die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def cut_off(lake: Lake, where: str, *arguments: bytes, **choice: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*CRASHES[where], die)
        with pytest.raises(KeyboardInterrupt):
            lake.replay(*arguments, **choice)


@pytest.mark.parametrize("where", CRASHES)
def test_a_replay_cut_off_is_completed_by_the_next(repairable: Lake, where: str) -> None:
    for _ in range(2):
        cut_off(repairable, where)
    repairable.replay()
    assert repairable.places() == REPAIRED_PLACES
    assert repairable.counts() == REPAIRED_COUNTS
    repairable.assert_reconciled()


@pytest.mark.parametrize("where", CRASHES)
def test_messages_that_come_again_after_a_replay_was_cut_off_land_once(
    repairable: Lake, where: str
) -> None:
    cut_off(repairable, where)
    repairable.deliver(*things(0, 2), *things(0, 2, partition=1), name="b.jsonl")
    repairable.replay()
    assert repairable.places() == [*REPAIRED_PLACES, (1, 2)]
    assert repairable.counts() == REPAIRED_COUNTS | {"consumed": 8, "landed": 6}
    repairable.assert_reconciled()


@pytest.mark.parametrize("where", CRASHES)
@pytest.mark.parametrize("comes_again", [False, True])
def test_a_letter_that_takes_a_place_lands_once_though_its_replay_was_cut_off(
    lake: Lake, where: str, comes_again: bool
) -> None:
    lake.deliver(thing(0), b"garbage")
    chosen = (letter_id(lake),)
    cut_off(lake, where, thing(1), ids=chosen)
    if comes_again:
        lake.deliver(thing(1), name="b.jsonl")
    if lake.open_letters():
        with suppress(UsageError):
            lake.replay(thing(1), ids=chosen)
    assert lake.offsets() == [0, 1]
    lake.land()
    lake.assert_reconciled()


def test_the_next_landing_counts_what_a_replay_had_marked(repairable: Lake) -> None:
    cut_off(repairable, "between marks and ledger")
    repairable.land()
    assert repairable.counts() == REPAIRED_COUNTS
    repairable.assert_reconciled()


def test_a_letter_whose_replay_was_cut_off_cannot_be_dropped(repairable: Lake) -> None:
    cut_off(repairable, "between rows and marks")
    with pytest.raises(LakehouseError, match="was cut off"):
        repairable.drop()
    repairable.replay()
    assert repairable.drop() == 1
    repairable.assert_reconciled()


def test_a_letter_of_a_landing_cut_off_waits_until_that_is_repeated(lake: Lake) -> None:
    lake.write([thing(0), BAD])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "commit", die)
        with pytest.raises(KeyboardInterrupt):
            lake.land()
    assert lake.replay(GOOD, ids=(letter_id(lake),)).uncounted == [letter_id(lake)]
    lake.land()
    assert lake.replay(GOOD, ids=(letter_id(lake),)).counts == {"landed": 1}
    lake.assert_reconciled()


@pytest.mark.parametrize("first", [BAD, GOOD], ids=["letter", "row"])
@pytest.mark.parametrize("place", [(_TopicLander, "_mark_finished"), (Ledger, "commit")])
def test_what_a_landing_cut_off_has_written_stands_though_the_line_is_judged_otherwise_by_now(
    lake: Lake, first: bytes, place: tuple[type, str]
) -> None:
    lake.write([thing(0), first])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*place, die)
        with pytest.raises(KeyboardInterrupt):
            lake.land()
    lake.deliver(thing(0), GOOD if first == BAD else BAD)
    dead = int(first == BAD)
    assert (len(lake.rows()), len(lake.letters())) == (2 - dead, dead)
    lake.assert_reconciled()
    if dead:
        lake.replay(GOOD, ids=(letter_id(lake),))
    assert lake.offsets() == [0, 1]
    lake.assert_reconciled()


@pytest.mark.parametrize("where", CRASHES)
def test_a_replay_overtaken_by_another_doubles_nothing(
    repairable: Lake, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = CRASHES[where]
    genuine = getattr(owner, name)

    def overtaken(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(owner, name, genuine)
        # As another machine would, which does not see this one's lock.
        monkeypatch.setattr(lock, "_acquire", lambda *_: None)
        repairable.replay()
        return genuine(*args, **kwargs)

    monkeypatch.setattr(owner, name, overtaken)
    repairable.replay()
    assert repairable.places() == REPAIRED_PLACES
    assert repairable.counts() == REPAIRED_COUNTS
    repairable.assert_reconciled()


@pytest.mark.parametrize("where", CRASHES)
def test_a_landing_in_the_middle_of_a_replay_doubles_nothing(
    repairable: Lake, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = CRASHES[where]
    genuine = getattr(owner, name)

    def overtaken(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(owner, name, genuine)
        repairable.deliver(*things(0, 2), *things(0, 2, partition=1), name="b.jsonl")
        return genuine(*args, **kwargs)

    monkeypatch.setattr(owner, name, overtaken)
    repairable.replay()
    assert repairable.places() == [*REPAIRED_PLACES, (1, 2)]
    assert repairable.counts() == REPAIRED_COUNTS | {"consumed": 8, "landed": 6}
    repairable.assert_reconciled()


def test_a_replay_does_not_move_the_progress_of_the_landing(lake: Lake) -> None:
    lake.deliver(thing(0), BAD, *things(2, 5))
    lake.replay(GOOD, ids=(letter_id(lake),))
    assert lake.table().transaction_version(f"{TOPIC}:0") == 5
    assert lake.table("_ledger").transaction_version(f"{TOPIC}:0") == 5
    assert lake.table().transaction_version(resolutions.APP) == 0
