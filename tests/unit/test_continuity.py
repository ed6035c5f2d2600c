"""A log that is not the one read so far is refused, and what is merely late or repeated is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.contract import Contracts
from pipelines.errors import LakehouseError
from tests.unit.events import (
    BRIEF,
    NARROW,
    T0_US,
    TOPIC,
    Lake,
    Row,
    envelope,
    message,
    thing,
    things,
)

SECOND = 1_000_000


def at(offset: int, *, lsn: int, seconds: int, op: str = "u", **changes: Any) -> bytes:
    """An event at a log position and a time of its own; without `sequence` if it is None."""
    changes = {"sequence": json.dumps([str(lsn), str(lsn)]), "lsn": lsn} | changes
    event = envelope(
        offset, BRIEF | {"id": offset}, op=op, ts_us=T0_US + seconds * SECOND, **changes
    )
    return message(offset, event)


def test_a_failover_to_lower_positions_is_refused_until_a_new_epoch(tmp_path: Path) -> None:
    lake = Lake(tmp_path, Contracts([NARROW]))
    lake.deliver(at(0, lsn=5000, seconds=0), at(1, lsn=5100, seconds=5))
    after = [at(2, lsn=40, seconds=100, op="r", snapshot="first"), at(3, lsn=50, seconds=110)]
    for _ in range(2):
        with pytest.raises(LakehouseError, match="positions are below") as caught:
            lake.deliver(*after, name="b.jsonl")
        assert "epoch" in caught.value.remedy
        assert lake.offsets() == [0, 1]
    lake.contracts = Contracts([NARROW.model_copy(update={"epoch": 1})])
    assert lake.land().landed == 2
    assert [row["_epoch"] for row in lake.rows()] == [0, 0, 1, 1]
    lake.deliver(at(4, lsn=60, seconds=120), name="c.jsonl")
    lake.assert_reconciled()


def test_a_second_snapshot_without_a_new_epoch_is_refused(lake: Lake) -> None:
    lake.deliver(at(0, lsn=5000, seconds=0), at(1, lsn=5100, seconds=5))
    snapshot = {"snapshot": "first", "sequence": '[null,"6000"]'}
    read = at(2, lsn=6000, seconds=100, op="r", **snapshot)
    with pytest.raises(LakehouseError, match="from offset 2 on"):
        lake.deliver(read, name="b.jsonl")


def test_a_failover_is_noticed_in_small_batches_too(lake: Lake) -> None:
    lake.deliver(at(0, lsn=5000, seconds=0))
    for n in range(1, 8):
        lake.deliver(at(n, lsn=10 + n, seconds=8 * n), name=f"{n:02d}.jsonl")
    with pytest.raises(LakehouseError, match="from offset 8 on"):
        lake.deliver(at(8, lsn=18, seconds=64), name="08.jsonl")


LATE: dict[str, list[Row]] = {
    "late from another partition": [{"lsn": 100, "seconds": 3}],
    "sent again after a restart": [{"lsn": 5000, "seconds": 0}],
    "a first snapshot read late": [
        {"lsn": 1, "seconds": 2, "op": "r", "snapshot": "last", "sequence": '[null,"1"]'}
    ],
    "an incremental snapshot": [{"lsn": 100, "seconds": 100, "op": "r", "snapshot": "incremental"}],
    "a clock that was set back": [{"lsn": 5050, "seconds": 60}],
    "without the last commit": [{"lsn": 100, "seconds": 100, "sequence": None}],
    "going on": [{"lsn": 5200, "seconds": 60}, {"lsn": 5201, "seconds": 59}],
}


@pytest.mark.parametrize("what", LATE)
def test_what_is_late_or_repeated_lands(lake: Lake, what: str) -> None:
    lake.deliver(at(0, lsn=5000, seconds=0), at(1, lsn=5100, seconds=5))
    events = [at(n, **event) for n, event in enumerate(LATE[what], start=2)]
    assert lake.deliver(*events, name="b.jsonl").landed == len(events)


def test_a_topic_made_anew_is_refused(lake: Lake) -> None:
    lake.deliver(*things(0, 9))
    fresh = [at(n, lsn=90_000 + n, seconds=3600) for n in range(3)]
    with pytest.raises(LakehouseError, match=f"{TOPIC}: offset 0 was consumed before"):
        lake.deliver(*fresh, name="b.jsonl")
    assert len(lake.rows()) == 10


def test_a_replay_with_new_messages_behind_it_is_no_topic_made_anew(lake: Lake) -> None:
    lake.deliver(*things(0, 9))
    report = lake.deliver(
        *things(5, 9), at(10, lsn=90_000, seconds=3600), thing(10), name="b.jsonl"
    )
    assert (report.landed, report.replayed) == (1, 6)
