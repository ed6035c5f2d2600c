"""Erased persons stay out: their events land under the id of nobody, their letters are empty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.cdc import novelty
from pipelines.cdc.erasures import FOLDER, REASON, Erasures, Person
from pipelines.cdc.masking import load_masker
from pipelines.contract import Column, Contracts, Table
from pipelines.erase import _erase_rows
from pipelines.lake.duck import connect
from pipelines.lake.ids import now
from tests.unit.events import Lake, Row, envelope, message

CLIENT = Table(
    name="client",
    server="shop",
    namespace="public",
    connector="postgres",
    key=("client_id",),
    columns=(
        Column(name="client_id", type="bigint", subject="client"),
        Column(name="email", type="varchar", pii="hash"),
        Column(name="city", type="varchar"),
    ),
    file="test",
)
ORDER = CLIENT.model_copy(
    update={
        "name": "order",
        "key": ("order_id",),
        "columns": (
            Column(name="order_id", type="bigint"),
            Column(name="client_id", type="bigint", subject="client"),
            Column(name="ship_to", type="varchar", pii="hash"),
            Column(name="amount", type="decimal(18,2)"),
        ),
    }
)
ERASED, OTHER = 7, 8


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path, Contracts([CLIENT, ORDER]))
    masker = load_masker(lake.settings)
    assert Erasures(lake.raw, masker).add(Person("client", str(ERASED)), "e1", now())
    return lake


def client(offset: int, client_id: Any, *, op: str = "u", former: int | None = None) -> bytes:
    row = {"client_id": client_id, "email": f"{client_id}@example.org", "city": "Lyon"}
    images: Row = {"before": row, "after": None} if op == "d" else {"after": row}
    headers = ["__debezium.oldkey", f'{{"client_id":{former}}}'] if former else []
    event = envelope(offset, op=op, table="client", **images)
    return message(offset, event, key={"client_id": client_id}, topic=CLIENT.topic, headers=headers)


def order(offset: int, client_id: int, **fields: Any) -> bytes:
    row = {"order_id": offset, "client_id": client_id, "ship_to": "Elm St", "amount": "9.50"}
    return message(offset, envelope(offset, row | fields, table="order"), topic=ORDER.topic)


def test_the_person_is_nobody_and_nothing_else_of_the_row_stays(lake: Lake) -> None:
    lake.deliver(client(0, ERASED), client(1, OTHER), topic=CLIENT.topic)
    erased, other = lake.rows(CLIENT.topic)
    assert (erased["client_id"], erased["email"], erased["city"]) == (-1, None, None)
    assert (other["client_id"], other["city"]) == (OTHER, "Lyon")
    assert len(other["email"]) == 64
    lake.assert_reconciled()


def test_a_deleted_person_does_not_delete_nobody(lake: Lake) -> None:
    lake.deliver(client(0, ERASED, op="d"), client(1, OTHER, op="d"), topic=CLIENT.topic)
    assert [row["_op"] for row in lake.rows(CLIENT.topic)] == ["u", "d"]


def test_a_fact_keeps_its_amount_without_what_is_personal(lake: Lake) -> None:
    lake.deliver(order(0, ERASED), order(1, OTHER, note="by the door"), topic=ORDER.topic)
    lake.deliver(order(2, ERASED, note="by the door"), name="b.jsonl", topic=ORDER.topic)
    first, other, again = lake.rows(ORDER.topic)
    for row in (first, again):
        assert (row["client_id"], row["ship_to"], row["_extra"]) == (-1, None, None)
        assert str(row["amount"]) == "9.50"
    assert other["client_id"] == OTHER
    assert other["ship_to"]
    assert other["_extra"]


def test_a_change_of_key_does_not_tell_the_former_one(lake: Lake) -> None:
    lake.deliver(client(0, ERASED, op="c", former=OTHER), topic=CLIENT.topic)
    assert lake.rows(CLIENT.topic)[0]["_former_key"] is None


def test_a_letter_that_names_the_person_is_empty(lake: Lake) -> None:
    lake.deliver(order(0, ERASED, amount="much"), order(1, OTHER, amount="much"), topic=ORDER.topic)
    first, other = sorted(lake.letters(), key=lambda letter: letter["offset"])
    assert (first["line"], first["reason"]) == (b"", REASON)
    assert b"much" in other["line"]
    assert lake.replay().counts == {}
    lake.assert_reconciled()


def test_an_erasure_is_heard_of_while_a_landing_is_on(lake: Lake) -> None:
    lake.deliver(order(0, OTHER), topic=ORDER.topic)
    masker = load_masker(lake.settings)
    known = Erasures(lake.raw, masker)
    assert Person("client", str(OTHER)) not in known
    assert Erasures(lake.raw, masker).add(Person("client", str(OTHER)), "e2", now())
    assert Person("client", str(OTHER)) in known
    assert not known.add(Person("client", str(OTHER)), "e3", now())


def test_an_erasure_in_the_middle_of_a_landing_is_minded(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.deliver(order(0, OTHER), topic=ORDER.topic)
    person, judge = Person("client", str(OTHER)), novelty.judge
    masker = load_masker(lake.settings)

    def erasing(*arguments: Any) -> None:
        if Erasures(lake.raw, masker).add(person, "e2", now()):
            with connect(lake.settings) as connection:
                assert _erase_rows(connection, lake.settings, ORDER, person, "run") == 1
        judge(*arguments)

    monkeypatch.setattr(novelty, "judge", erasing)
    assert lake.deliver(order(1, OTHER), name="b.jsonl", topic=ORDER.topic).landed == 1
    assert [row["client_id"] for row in lake.rows(ORDER.topic)] == [-1, -1]
    lake.assert_reconciled()


def test_rows_are_rewritten_and_others_keep_what_they_have(lake: Lake) -> None:
    lake.deliver(
        client(0, OTHER), client(1, 9, op="c", former=OTHER), client(2, 10, op="c", former=9),
        topic=CLIENT.topic,
    )  # fmt: skip
    with connect(lake.settings) as connection:
        person = Person("client", str(OTHER))
        assert _erase_rows(connection, lake.settings, CLIENT, person, "run") == 2
        assert lake.table(CLIENT.topic).history(1)[0]["run_id"] == "run"
        assert _erase_rows(connection, lake.settings, CLIENT, person, "run") == 0
    rows = lake.rows(CLIENT.topic)
    assert [row["client_id"] for row in rows] == [-1, 9, 10]
    assert [row["city"] for row in rows] == [None, "Lyon", "Lyon"]
    assert [row["_former_key"] for row in rows] == [None, None, ["9"]]
    lake.assert_reconciled()


def test_the_list_holds_no_id(lake: Lake) -> None:
    (row,) = lake.table(FOLDER).to_pyarrow_table().to_pylist()
    assert len(row["token"]) == 64
    assert str(ERASED) not in (row["subject"], row["erasure_id"])


@pytest.mark.parametrize(
    "column",
    [
        {"type": "double", "subject": "client"},
        {"type": "bigint", "subject": "client", "pii": "hash"},
    ],
)
def test_a_subject_that_cannot_be_compared_is_refused(column: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a subject's id must be"):
        Column(name="client_id", **column)
