"""Rows with other fields than the contract: they land, become dead letters, or stop the landing."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.contract import Column, Contracts, Table
from pipelines.errors import LakehouseError
from tests.unit.events import (
    BRIEF,
    NARROW,
    TOPIC,
    Lake,
    envelope,
    message,
    source,
    thing,
    things,
)

LACKING = {"id": 1, "label": "one"}


def under(lake: Lake, **changes: Any) -> Lake:
    """The same lake under a changed contract of `thing`."""
    return Lake(lake.folder, Contracts([NARROW.model_copy(update=changes)]))


def with_column(name: str, **changes: Any) -> tuple[Column, ...]:
    """The columns of the contract, one of them changed."""
    return tuple(
        column.model_copy(update=changes) if column.name == name else column
        for column in NARROW.columns
    )


@pytest.fixture
def frozen(lake: Lake) -> Lake:
    return under(lake, on_drift="freeze")


def of(after: dict[str, Any] | None, *, op: str = "c", **changes: Any) -> bytes:
    return message(1, envelope(1, after, op=op, **changes), key={"id": 1})


# What becomes of them


def test_by_default_rows_that_drift_land_and_unknown_fields_are_kept(lake: Lake) -> None:
    lake.deliver(thing(0, hat="red"), message(1, envelope(1, LACKING)))
    assert lake.counts() == {"consumed": 2, "landed": 2}
    assert [row["_extra"] for row in lake.rows()] == ['{"hat":"red"}', None]


def test_frozen_they_are_dead_letters_that_name_the_fields_and_no_values(frozen: Lake) -> None:
    frozen.deliver(
        thing(0),
        message(1, envelope(1, BRIEF | {"hat": "secret", "coat": None})),
        message(2, envelope(2, LACKING)),
        message(3, envelope(3, LACKING | {"hat": "secret"})),
    )
    assert frozen.offsets() == [0]
    assert [letter["reason"] for letter in frozen.letters()] == [
        "not in the contract: hat, coat",
        "not sent: count",
        "not in the contract: hat; not sent: count",
    ]
    assert set(frozen.reasons()) == {"drift"}
    frozen.assert_reconciled()


def test_a_drift_that_the_contract_has_caught_up_with_lands_by_a_replay(frozen: Lake) -> None:
    frozen.deliver(thing(0, hat="red"))
    later = under(
        frozen, on_drift="freeze", columns=(*NARROW.columns, Column(name="hat", type="varchar"))
    )
    assert later.replay().counts == {"landed": 1}
    assert later.row()["hat"] == "red"


def test_fields_in_another_order_are_no_drift(frozen: Lake) -> None:
    frozen.deliver(of({"count": 3, "id": 1, "label": "one"}))
    assert frozen.counts() == {"consumed": 1, "landed": 1}


@pytest.mark.parametrize(
    "line",
    [
        of(None, op="d", before={"id": 1, "label": None, "count": None}),
        of(None, op="d"),
        of(None, op="t"),
        message(1, None, key={"id": 1}),
    ],
    ids=["delete with nulls", "delete without before", "truncate", "tombstone"],
)
def test_what_has_all_fields_or_no_image_at_all_never_drifts(frozen: Lake, line: bytes) -> None:
    frozen.deliver(line)
    assert frozen.letters() == []


def test_the_image_of_a_delete_is_what_was_before(frozen: Lake) -> None:
    frozen.deliver(of(None, op="d", before={"id": 1, "label": "one", "count": 3, "hat": "red"}))
    assert [letter["reason"] for letter in frozen.letters()] == ["not in the contract: hat"]


@pytest.mark.parametrize("form", ["schema", "flat"])
@pytest.mark.parametrize(("after", "dead"), [(BRIEF, 0), (BRIEF | {"hat": "x"}, 1), (LACKING, 1)])
def test_wrapped_and_flattened_rows_drift_alike(
    frozen: Lake, form: str, after: dict[str, Any], dead: int
) -> None:
    payload: Any = {"schema": {"type": "struct", "fields": []}, "payload": envelope(1, after)}
    if form == "flat":
        told = source(1)
        added = {f"__source_{name}": told[name] for name in ("ts_us", "lsn", "sequence")}
        payload = after | added | {"__op": "c"}
    frozen.deliver(message(1, payload))
    assert len(frozen.letters()) == dead


def test_a_missing_key_is_told_before_a_drift(frozen: Lake) -> None:
    frozen.deliver(message(1, envelope(1, {"label": "x"})))
    assert frozen.reasons() == ["missing_key"]


def test_stop_commits_nothing_of_the_batch_and_names_topic_fields_and_remedy(lake: Lake) -> None:
    stopping = under(lake, on_drift="stop")
    stopping.deliver(*things(0, 1))
    with pytest.raises(LakehouseError, match=f"of {TOPIC} .*not in the contract: hat") as stopped:
        stopping.deliver(thing(2), thing(3, hat="secret"), thing(4, count="x"), name="b.jsonl")
    assert "correct the contract" in stopped.value.remedy
    assert "secret" not in stopped.value.cause
    assert stopping.offsets() == [0, 1]
    assert stopping.letters() == []
    assert stopping.counts() == {"consumed": 2, "landed": 2}
    corrected = under(
        lake, on_drift="stop", columns=(*NARROW.columns, Column(name="hat", type="varchar"))
    )
    with pytest.raises(LakehouseError, match="not sent: hat"):
        corrected.land()
    evolving = under(lake, columns=(*NARROW.columns, Column(name="hat", type="varchar")))
    evolving.land()
    assert evolving.offsets() == [0, 1, 2, 3]


def test_what_has_landed_before_the_contract_said_stop_does_not_stop_it(lake: Lake) -> None:
    lake.deliver(thing(0, hat="red"))
    stopping = under(lake, on_drift="stop")
    stopping.deliver(thing(0, hat="red"), thing(1), name="b.jsonl")
    assert stopping.offsets() == [0, 1]


# Columns that are not sent


def test_raw_tells_which_columns_a_row_was_sent_without(lake: Lake) -> None:
    lake.deliver(thing(0), message(1, envelope(1, {"id": 1})), thing(2, hat="red"))
    assert [row["_unavailable"] for row in lake.rows()] == [[], ["label", "count"], []]


def test_a_key_that_only_the_message_key_tells_is_not_unavailable(lake: Lake) -> None:
    lake.deliver(message(1, envelope(1, {"label": "x", "count": 1}), key={"id": 7}))
    assert (lake.row()["id"], lake.row()["_unavailable"]) == (7, [])


def test_a_marker_and_a_missing_field_are_both_unavailable(lake: Lake) -> None:
    toast = under(lake, columns=with_column("label", toast=True))
    toast.deliver(of({"id": 1, "label": "__debezium_unavailable_value"}))
    assert toast.row()["_unavailable"] == ["label", "count"]


def test_a_dropped_column_is_unavailable_in_rows_that_lack_it_and_no_drift(lake: Lake) -> None:
    dropped = under(lake, columns=with_column("count", dropped=True), on_drift="freeze")
    dropped.deliver(
        message(0, envelope(0, LACKING)),
        thing(1),
        message(2, envelope(2, None, op="d"), key={"id": 1}),
    )
    assert dropped.letters() == []
    assert [(row["count"], row["_unavailable"]) for row in dropped.rows()] == [
        (None, ["count"]),
        (3, []),
        (None, []),
    ]


def test_a_key_column_cannot_be_dropped() -> None:
    shape = NARROW.model_dump() | {
        "columns": [c.model_dump() for c in with_column("id", dropped=True)]
    }
    with pytest.raises(ValueError, match="key column 'id' cannot be marked pii, toast or dropped"):
        Table(**shape)


def test_the_version_of_a_contract_tells_both() -> None:
    versions = {
        NARROW.version,
        NARROW.model_copy(update={"on_drift": "freeze"}).version,
        NARROW.model_copy(update={"columns": with_column("count", dropped=True)}).version,
    }
    assert len(versions) == 3
