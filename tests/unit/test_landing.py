"""Landing: types, masking, dead letters and control messages."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.cdc.dead_letters import reasons
from pipelines.cdc.land import LandReport
from pipelines.cdc.ledger import batches_with_rows, totals
from pipelines.contract import Column, Contracts, Table, load_contracts
from pipelines.errors import LakehouseError
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
    "the last date of PostgreSQL": (thing(1, day="5874897-12-31Z"), "wrong_type"),
    "a date before our era": (thing(1, day="0044-03-15 (BC)"), "wrong_type"),
    "an hour that does not exist": (thing(1, at="2024-05-06T25:00:00Z"), "wrong_type"),
    "a timestamp that is text": (thing(1, at="yesterday"), "wrong_type"),
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
    # Nothing to build from.
    assert lake.batches() != set()
    assert batches_with_rows(lake.raw) == []


def test_the_ledger_tells_the_range_and_the_newest_time_of_each_partition(lake: Lake) -> None:
    lake.deliver(*things(3, 5, partition=0), *things(7, 8, partition=1))
    rows = [row for row in lake.ledger() if row["batch_id"]]
    found = {r["partition"]: (r["first_offset"], r["last_offset"], r["consumed"]) for r in rows}
    assert found == {0: (3, 5, 3), 1: (7, 8, 2)}
    (total,) = totals(lake.raw).to_pylist()
    assert total["newest_source_ts"] == datetime(2017, 3, 20, 8, 53, 20, 8, UTC)
    assert (total["consumed"], total["landed"]) == (5, 5)
    assert batches_with_rows(lake.raw) == sorted(lake.batches())
