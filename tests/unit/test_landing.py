"""Landing: types, masking, dead letters, control messages, and each message exactly once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from deltalake.exceptions import CommitFailedError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.cdc import land as landing
from pipelines.cdc.capture import CaptureFile
from pipelines.cdc.dead_letters import DeadLetters, reasons
from pipelines.cdc.land import LandReport, _TopicLander
from pipelines.cdc.ledger import Ledger, batches, totals
from pipelines.contract import Column, Contracts, Table, load_contracts
from pipelines.errors import LakehouseError
from pipelines.lake.tables import create_raw_tables
from pipelines.settings import REPOSITORY
from tests.unit.events import (
    BRIEF,
    KEY,
    NARROW,
    T0_US,
    THING,
    TOPIC,
    WHOLE,
    Lake,
    envelope,
    message,
    thing,
    things,
)

SHIPPED = load_contracts(REPOSITORY / "dbt_project")
CLIENT = SHIPPED.by_topic["shop.public.client"]
ADA = {
    "client_id": 7,
    "full_name": "Ada Lovelace-Byron",
    "email": "ada.byron@example.org",
    "phone": "+44 20 7946 0958",
    "age_band": "35-44",
    "income_band": "50-74K",
    "household_size": "2",
    "kids": None,
    "city": "Springfield-on-Sea",
    "created_at": "2017-01-01T00:00:00Z",
}
SECRETS = [ADA["full_name"], ADA["email"], ADA["phone"]]


@pytest.fixture
def people(tmp_path: Path) -> Lake:
    """An empty lake with the shipped contract of `client`."""
    return Lake(tmp_path, Contracts([CLIENT]))


def client(offset: int, **fields: Any) -> bytes:
    after = ADA | fields
    key = {"client_id": after.get("client_id")}
    return message(offset, envelope(offset, after), key=key, topic=CLIENT.topic)


def failing(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


# Types


def test_values_land_in_the_types_of_the_contract(typed: Lake) -> None:
    typed.deliver(thing(4, **WHOLE | {"id": 9_007_199_254_740_993, "price": "1234567890123456.78"}))
    row = typed.row()
    assert row["id"] == 9_007_199_254_740_993
    assert row["price"] == Decimal("1234567890123456.78")
    assert row["day"] == date(2024, 5, 6)
    assert row["at"] == datetime(2024, 5, 6, 10, 0, 0, 123456, UTC)
    assert (row["label"], row["count"], row["ratio"], row["is_on"]) == ("one", 3, 0.5, True)


def test_a_row_tells_where_it_came_from(lake: Lake) -> None:
    lake.deliver(thing(4, partition=2))
    row = lake.row()
    assert (row["_topic"], row["_partition"], row["_offset"]) == (TOPIC, 2, 4)
    assert row["_source_ts_us"] == T0_US + 4
    assert row["_source_ts"] == datetime(2017, 3, 20, 8, 53, 20, 4, UTC)
    assert (row["year"], row["month"]) == (2017, 3)
    assert (row["_op"], row["_epoch"], row["_source_rank"], row["_snapshot"]) == (
        "c",
        0,
        2,
        "false",
    )
    assert row["_schema_version"] == NARROW.version
    assert (row["_unavailable"], row["_extra"]) == ([], None)
    assert {row["_batch_id"]} == lake.batches()
    assert row["_landed_at"].tzinfo is not None
    assert (lake.raw / TOPIC / "year=2017" / "month=3").is_dir()


def test_a_timestamp_lands_as_utc_whatever_its_offset(typed: Lake) -> None:
    expected = {
        "2024-05-06T10:00:00.123456+02:00": datetime(2024, 5, 6, 8, 0, 0, 123456, UTC),
        "2024-05-06T23:30:00-05:30": datetime(2024, 5, 7, 5, 0, tzinfo=UTC),
        "2024-05-06T10:00:00": datetime(2024, 5, 6, 10, tzinfo=UTC),
        "2024-05-06T10:00:00.123456789Z": datetime(2024, 5, 6, 10, 0, 0, 123456, UTC),
        "1970-01-01T00:00:00Z": datetime(1970, 1, 1, tzinfo=UTC),
        "0001-01-01T00:00:00Z": datetime(1, 1, 1, tzinfo=UTC),
        "9999-12-31T23:59:59.999999Z": datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
    }
    typed.deliver(*(thing(n, at=text) for n, text in enumerate(expected)))
    landed = [row["at"] for row in typed.rows()]
    assert dict(zip(expected, landed, strict=True)) == expected


def test_a_decimal_lands_exactly_however_it_is_written(typed: Lake) -> None:
    expected = {
        "-0.01": Decimal("-0.01"),
        "1.5000": Decimal("1.50"),
        ".5": Decimal("0.50"),
        "0E-8": Decimal("0.00"),
        "1.5E+3": Decimal("1500.00"),
        "150E-2": Decimal("1.50"),
        "9999999999999999.99": Decimal("9999999999999999.99"),
        12.3: Decimal("12.30"),
    }
    typed.deliver(*(thing(n, price=text) for n, text in enumerate(expected)))
    landed = [row["price"] for row in typed.rows()]
    assert dict(zip(expected, landed, strict=True)) == expected


def test_decimals_of_the_greatest_precision_are_not_rounded_either(tmp_path: Path) -> None:
    wide = Table(
        name="wide", server="shop", namespace="public", connector="postgres", key=("id",),
        columns=(Column(name="id", type="bigint"), Column(name="amount", type="decimal(38,2)")),
        file="test",
    )  # fmt: skip
    lake = Lake(tmp_path, Contracts([wide]))
    texts = ["123456789012345678901234567890123456.78", "1.239", "1.2300"]
    lines = [
        message(n, envelope(n, {"id": n, "amount": text}), topic=wide.topic)
        for n, text in enumerate(texts)
    ]
    lake.deliver(*lines, topic=wide.topic)
    assert [row["amount"] for row in lake.rows(wide.topic)] == [Decimal(texts[0]), Decimal("1.23")]
    assert lake.reasons() == ["wrong_type"]


def test_empty_and_absent_fields_land_as_null(typed: Lake) -> None:
    typed.deliver(
        thing(0, label=None, price=None, day=None, at=None, is_on=None),
        message(1, envelope(1, {"id": 5}), key={"id": 5}),
    )
    for row in typed.rows():
        assert [row[name] for name in ("label", "price", "day", "at", "is_on")] == [None] * 5


def test_columns_may_be_called_like_the_landing_calls_its_own(tmp_path: Path) -> None:
    names = ("line", "reason", "offset", "partition", "disposition", "line_number", "op", "payload",
             "source", "order")  # fmt: skip
    odd = Table(
        name="odd", server="shop", namespace="public", connector="postgres", key=("id",),
        columns=(Column(name="id", type="bigint"),
                 *(Column(name=name, type="varchar") for name in names)),
        file="test",
    )  # fmt: skip
    lake = Lake(tmp_path, Contracts([odd]))
    after = {"id": 1} | {name: f"the {name}" for name in names}
    lake.deliver(message(3, envelope(3, after), topic=odd.topic), topic=odd.topic)
    row = lake.row(odd.topic)
    assert {name: row[name] for name in after} == after


# Envelopes


def test_an_event_wrapped_in_schema_and_payload_lands_like_a_bare_one(typed: Lake) -> None:
    bare = envelope(0, WHOLE | {"id": 10, "colour": "red"})
    wrapped = envelope(1, WHOLE | {"id": 11, "colour": "red"})
    typed.deliver(
        message(0, bare, key={"id": 10}),
        message(1, {"schema": {"type": "struct"}, "payload": wrapped},
                key={"schema": {}, "payload": {"id": 11}}),
    )  # fmt: skip
    first, second = typed.rows()
    assert (first["id"], second["id"]) == (10, 11)
    for name in ("label", "price", "at", "_op", "_extra"):
        assert first[name] == second[name]


def test_a_base64_payload_lands_like_a_plain_one(lake: Lake) -> None:
    payload = base64.b64encode(json.dumps(envelope(0, BRIEF | {"label": "Käse"})).encode())
    lake.deliver(message(0, payload.decode(), encoding="base64"))
    assert lake.row()["label"] == "Käse"


def test_a_delete_lands_with_the_row_that_was(lake: Lake) -> None:
    lake.deliver(message(0, envelope(0, None, op="d", before=BRIEF), key={"id": 1}))
    row = lake.row()
    assert (row["id"], row["label"], row["_op"], row["_source_rank"]) == (1, "one", "d", 1)


@pytest.mark.parametrize("key", [{"id": 42}, {"schema": {}, "payload": {"id": 42}}])
@pytest.mark.parametrize("before", [None, {"id": None, "label": None}])
def test_a_delete_without_an_image_takes_its_key_from_the_message_key(
    lake: Lake, key: dict[str, Any], before: dict[str, Any] | None
) -> None:
    lake.deliver(message(0, envelope(0, None, op="d", before=before), key=key))
    row = lake.row()
    assert (row["id"], row["label"], row["_op"]) == (42, None, "d")


def test_a_snapshot_read_says_so(lake: Lake) -> None:
    lake.deliver(message(0, envelope(0, BRIEF, op="r", snapshot="first", sequence=None)))
    row = lake.row()
    assert (row["_op"], row["_snapshot"], row["_source_rank"]) == ("r", "first", 0)


def test_a_truncate_lands_without_values(lake: Lake) -> None:
    report = lake.deliver(message(0, envelope(0, None, op="t")))
    row = lake.row()
    assert (row["_op"], row["id"], row["label"]) == ("t", None, None)
    assert lake.counts() == {"consumed": 1, "truncate": 1}
    assert report.landed == 1


def test_a_column_added_to_the_contract_is_empty_for_older_rows(lake: Lake) -> None:
    lake.deliver(thing(0))
    colour = Column(name="colour", type="varchar")
    lake.contracts = Contracts([NARROW.model_copy(update={"columns": (*NARROW.columns, colour)})])
    lake.deliver(thing(1, colour="red"), name="b.jsonl")
    assert [(row["id"], row["colour"]) for row in lake.rows()] == [(0, None), (1, "red")]


def test_a_contract_that_gives_a_landed_column_another_type_is_refused(typed: Lake) -> None:
    typed.deliver(thing(0))
    columns = tuple(
        Column(name="count", type="varchar") if c.name == "count" else c for c in THING.columns
    )
    typed.contracts = Contracts([THING.model_copy(update={"columns": columns})])
    with pytest.raises(LakehouseError, match="table thing, column count"):
        typed.land()


# Unknown fields and personal data


def test_unknown_fields_go_to_extra_and_nothing_else_does(lake: Lake) -> None:
    lake.deliver(thing(0, colour="red", sizes=[1, 2], nothing=None))
    assert json.loads(lake.row()["_extra"]) == {"colour": "red", "sizes": [1, 2], "nothing": None}


def test_fields_in_another_order_or_missing_are_no_unknown_fields(typed: Lake) -> None:
    backwards = dict(reversed(WHOLE.items()))
    typed.deliver(message(0, envelope(0, backwards)), message(1, envelope(1, {"id": 2})))
    assert [row["_extra"] for row in typed.rows()] == [None, None]


def test_a_delete_keeps_the_unknown_fields_of_its_image(lake: Lake) -> None:
    lake.deliver(message(0, envelope(0, None, op="d", before=BRIEF | {"colour": "red"})))
    assert json.loads(lake.row()["_extra"]) == {"colour": "red"}


def test_unknown_fields_of_a_table_with_personal_data_are_sealed(people: Lake) -> None:
    people.deliver(client(0, nickname="Countess", full_NAME="A. L."), topic=CLIENT.topic)
    extra = people.row(CLIENT.topic)["_extra"]
    assert "Countess" not in extra
    opened = json.loads(people.masker.unseal(base64.b64decode(extra)))
    assert opened == {"nickname": "Countess", "full_NAME": "A. L."}


def test_names_are_dropped_and_addresses_hashed(people: Lake) -> None:
    people.deliver(client(0), client(1, email=None, phone=""), topic=CLIENT.topic)
    first, second = people.rows(CLIENT.topic)
    assert "full_name" not in first
    for name in ("email", "phone"):
        expected = hmac.new(KEY.encode(), ADA[name].encode(), hashlib.sha256).hexdigest()
        assert first[name] == expected
    assert second["email"] is None
    assert second["phone"] == hmac.new(KEY.encode(), b"", hashlib.sha256).hexdigest()
    assert first["city"] == ADA["city"]


def test_a_masked_column_keeps_its_first_letter_only(tmp_path: Path) -> None:
    columns = tuple(
        c.model_copy(update={"pii": "mask"}) if c.name == "email" else c for c in CLIENT.columns
    )
    people = Lake(tmp_path, Contracts([CLIENT.model_copy(update={"columns": columns})]))
    people.deliver(client(0), client(1, email=None), topic=CLIENT.topic)
    assert [row["email"] for row in people.rows(CLIENT.topic)] == ["a***", None]


def test_personal_data_stands_nowhere_below_the_raw_folder(people: Lake) -> None:
    update = envelope(1, ADA | {"client_id": 8}, op="u", before=ADA)
    lines = [
        client(0),
        message(1, update, topic=CLIENT.topic),
        message(2, envelope(2, None, op="d", before=ADA), topic=CLIENT.topic),
        client(3, mail_again=ADA["email"], names={"full": ADA["full_name"]}),
        # Dead letters of every kind that can hold values.
        client(4, client_id=ADA["email"]),
        client(5, created_at=ADA["full_name"]),
        client(6, client_id=None),
        message(7, envelope(7, ADA, op="x"), topic=CLIENT.topic),
        message(8, json.dumps(envelope(8, ADA))[:-9], topic=CLIENT.topic),
        client(9)[:-5],
        client(10).replace(b"35-44", b"\xff\xfe"),
        message(11, [ADA], topic=CLIENT.topic),
        message(12, envelope(12, ADA), topic="shop.public.clients"),
    ]
    people.write(lines, topic=CLIENT.topic)
    people.write([client(0).replace(b"public.client", b"public.crm")], topic="shop.public.crm")
    people.land()
    assert people.counts(CLIENT.topic)["landed"] == 4
    assert len(people.letters()) == len(lines) - 4 + 1
    seen = 0
    for path, content in people.everything_below_raw():
        seen += ADA["city"].encode() in content
        for secret in SECRETS:
            assert secret.encode() not in content, path
            assert base64.b64encode(secret.encode())[:-4] not in content, path
    assert seen, "the search must find what may be read"


def test_reasons_tell_the_value_only_where_no_column_is_personal(
    people: Lake, tmp_path: Path
) -> None:
    lake = Lake(tmp_path / "other", Contracts([THING]))
    lake.deliver(thing(0, count="seven"))
    assert lake.letters()[0]["reason"] == "count: seven is no integer"
    people.deliver(client(0, client_id="seven"), topic=CLIENT.topic)
    assert people.letters()[0]["reason"] == "client_id: is no bigint"


# Dead letters

BROKEN: dict[str, tuple[bytes, str]] = {
    "a line that is no JSON": (b'{"topic": "shop', "broken_json"),
    "an empty line": (b"", "broken_json"),
    "a line that is no object": (b"[1, 2]", "broken_envelope"),
    "a line without topic": (b'{"partition":0,"offset":1,"payload":null}', "broken_envelope"),
    "a line without offset": (message(1, None).replace(b'"offset":1,', b""), "broken_envelope"),
    "an offset that is no number": (
        message(1, None).replace(b'"offset":1', b'"offset":"x"'), "broken_envelope"),
    "the message of another topic": (message(1, None, topic="shop.public.other"), "wrong_topic"),
    "a payload that is no JSON": (message(1, "{'op': 1"), "broken_json"),
    "a payload that is no object": (message(1, "42"), "not_a_change_event"),
    "a payload without op": (message(1, {"after": BRIEF}), "not_a_change_event"),
    "base64 of what is no UTF-8": (message(1, "//79", encoding="base64"), "invalid_utf8"),
    "what only claims to be base64": (message(1, "%%%", encoding="base64"), "invalid_utf8"),
    "a line that is no UTF-8": (thing(1, label="x").replace(b'"x', b'"\xff'), "invalid_utf8"),
    "an unknown op": (message(1, envelope(1, BRIEF, op="z")), "unknown_op"),
    "a missing source": (
        message(1, envelope(1, BRIEF) | {"source": None}), "missing_source_position"),
    "a source without a position": (
        message(1, envelope(1, BRIEF, lsn=None)), "missing_source_position"),
    "a source without time": (
        message(1, envelope(1, BRIEF, ts_us=None, ts_ms=None)), "missing_source_position"),
    "a source time beyond all calendars": (
        message(1, envelope(1, BRIEF, ts_us=2**63 - 1)), "missing_source_position"),
    "a source time whose microseconds overflow": (
        message(1, envelope(1, BRIEF, ts_us=None, ts_ms=2**63 - 1)), "missing_source_position"),
    "a change without the row after it": (message(1, envelope(1, None)), "missing_after"),
    "a row without its key": (message(1, envelope(1, BRIEF | {"id": None})), "missing_key"),
    "a delete without any key": (message(1, envelope(1, None, op="d")), "missing_key"),
    "text in an integer": (thing(1, count="three"), "wrong_type"),
    "an integer that is too great": (thing(1, count=2**31), "wrong_type"),
    "a bigint that is too great": (thing(1, id=2**63), "wrong_type"),
    "one and a half in a bigint": (thing(1, id=1.5), "wrong_type"),
    "one and a half in a bigint, as text": (thing(1, id="1.5"), "wrong_type"),
    "too many decimals": (thing(1, price="1.239"), "wrong_type"),
    "too many decimals by exponent": (thing(1, price="1239E-3"), "wrong_type"),
    "a last decimal beyond the widest decimal": (
        thing(1, price="1.00000000000000000000000001"), "wrong_type"),
    "a decimal that is too great": (thing(1, price="10000000000000000.00"), "wrong_type"),
    "a decimal that is no number": (thing(1, price="NaN"), "wrong_type"),
    "an infinite decimal": (thing(1, price="Infinity"), "wrong_type"),
    "text in a double": (thing(1, ratio="half"), "wrong_type"),
    "text in a boolean": (thing(1, is_on="maybe"), "wrong_type"),
    "a day that does not exist": (thing(1, day="2024-02-30Z"), "wrong_type"),
    "a time in a date": (thing(1, day="2024-02-28T10:00:00Z"), "wrong_type"),
    "an infinite date": (thing(1, day="infinity"), "wrong_type"),
    "the last date of PostgreSQL": (thing(1, day="5874897-12-31Z"), "wrong_type"),
    "a date before our era": (thing(1, day="0044-03-15 (BC)"), "wrong_type"),
    "an hour that does not exist": (thing(1, at="2024-05-06T25:00:00Z"), "wrong_type"),
    "a timestamp that is text": (thing(1, at="yesterday"), "wrong_type"),
    "an infinite timestamp": (thing(1, at="infinity"), "wrong_type"),
    "a timestamp minus infinite": (thing(1, at="-infinity"), "wrong_type"),
    "a timestamp beyond year 9999": (thing(1, at="10000-01-01T00:00:00Z"), "wrong_type"),
}  # fmt: skip


BATCH = [
    line
    for n, (broken, _) in enumerate(BROKEN.values())
    for line in (thing(2 * n), broken.replace(b'"offset":1,', b'"offset":%d,' % (2 * n + 1)))
]


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, LandReport]:
    """A lake in which one batch was landed: good and broken messages by turns."""
    lake = Lake(tmp_path_factory.mktemp("spoilt"), Contracts([THING]))
    return lake, lake.deliver(*BATCH)


@pytest.mark.parametrize("what", BROKEN)
def test_a_bad_message_becomes_a_dead_letter(spoilt: tuple[Lake, LandReport], what: str) -> None:
    number = 2 * list(BROKEN).index(what) + 2
    (letter,) = [x for x in spoilt[0].letters() if x["line_number"] == number]
    assert letter["reason_code"] == BROKEN[what][1]
    assert letter["line"] == BATCH[number - 1]
    assert (letter["topic"], letter["source_file"]) == (TOPIC, f"{TOPIC}/a.jsonl")
    assert letter["contract_version"] == THING.version
    assert {letter["batch_id"]} == spoilt[0].batches()


def test_the_good_messages_of_a_batch_land_beside_the_bad(spoilt: tuple[Lake, LandReport]) -> None:
    lake, report = spoilt
    assert lake.offsets() == [2 * n for n in range(len(BROKEN))]
    assert len(lake.letters()) == len(BROKEN)
    assert (report.landed, report.dead, report.replayed) == (len(BROKEN), len(BROKEN), 0)
    assert report.topics[TOPIC].reasons == Counter(code for _, code in BROKEN.values())
    lake.assert_reconciled()


def test_dead_letters_name_their_coordinates_where_they_were_told(lake: Lake) -> None:
    lake.deliver(thing(5, partition=3, count="x"), b"nothing")
    told, untold = lake.letters()
    assert (told["partition"], told["offset"]) == (3, 5)
    assert (untold["partition"], untold["offset"]) == (None, None)


def test_the_message_of_another_topic_takes_nobodys_place(lake: Lake) -> None:
    lake.deliver(message(5, envelope(5, BRIEF), topic="shop.public.other"))
    lake.deliver(thing(5), name="b.jsonl")
    assert lake.offsets() == [5]
    assert lake.reasons() == ["wrong_topic"]
    lake.assert_reconciled()


def test_all_messages_of_an_unknown_topic_are_dead_letters(lake: Lake) -> None:
    topic = "shop.public.unheard_of"
    lines = [message(n, envelope(n, BRIEF), topic=topic) for n in range(3)]
    for _ in range(2):
        lake.deliver(*lines, topic=topic)
    assert [(x["reason_code"], x["contract_version"]) for x in lake.letters()] == [
        ("unknown_topic", None)
    ] * 3
    assert lake.counts(topic) == {"consumed": 3, "dead": 3}


def test_letters_are_counted_by_topic_and_reason(lake: Lake) -> None:
    assert reasons(lake.raw).num_rows == 0
    lake.deliver(thing(0, count="x"), thing(1, count="y"), thing(2, id=None))
    assert reasons(lake.raw).to_pylist() == [
        {"topic": TOPIC, "reason_code": "wrong_type", "letters": 2},
        {"topic": TOPIC, "reason_code": "missing_key", "letters": 1},
    ]


# Counts


def test_every_message_has_one_disposition(lake: Lake) -> None:
    lines = [
        thing(0),
        message(1, envelope(1, BRIEF, op="u", before=BRIEF), key={"id": 1}),
        message(2, envelope(2, None, op="d", before=BRIEF), key={"id": 1}),
        message(3, None, key={"id": 1}),
        message(4, envelope(4, None, op="t")),
        message(5, envelope(5, None) | {"op": "m", "message": {"prefix": "x"}}),
        thing(6, count="x"),
    ]
    lake.deliver(*lines)
    assert lake.counts() == {
        "consumed": 7, "landed": 3, "tombstone": 1, "truncate": 1, "message": 1, "dead": 1,
    }  # fmt: skip
    assert lake.offsets() == [0, 1, 2, 4]


@pytest.mark.parametrize(
    ("topic", "disposition"),
    [
        ("__debezium-heartbeat.shop", "heartbeat"),
        ("shop.transaction", "txmeta"),
        ("shop", "schema_change"),
    ],
)
def test_control_topics_are_counted_and_not_landed(
    lake: Lake, topic: str, disposition: str
) -> None:
    lines = [message(n, {"ts_ms": n}, topic=topic) for n in range(3)]
    for _ in range(2):
        lake.deliver(*lines, b"garbage", topic=topic)
    assert lake.counts(topic) == {"consumed": 4, disposition: 3, "dead": 1}
    assert lake.reasons() == ["broken_json"]


def test_the_ledger_tells_the_range_and_the_newest_time_of_each_partition(lake: Lake) -> None:
    lake.deliver(*things(3, 5, partition=0), *things(7, 8, partition=1))
    rows = [row for row in lake.ledger() if row["batch_id"]]
    found = {r["partition"]: (r["first_offset"], r["last_offset"], r["consumed"]) for r in rows}
    assert found == {0: (3, 5, 3), 1: (7, 8, 2)}
    (total,) = totals(lake.raw).to_pylist()
    assert total["newest_source_ts"] == datetime(2017, 3, 20, 8, 53, 20, 8, UTC)
    assert (total["consumed"], total["landed"]) == (5, 5)
    assert batches(lake.raw) == sorted(lake.batches())


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
