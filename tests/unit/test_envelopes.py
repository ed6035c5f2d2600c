"""Envelopes and encodings: one change lands as one row, however a converter wrote it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.cdc.json_parsing import Checking
from pipelines.contract import Column, Contracts
from tests.unit.events import (
    BRIEF,
    NARROW,
    THING,
    WHOLE,
    Lake,
    Row,
    envelope,
    message,
    source,
    thing,
)

SOURCE_FIELDS = ("ts_us", "lsn", "sequence", "snapshot")


def with_schema(event: Row, *fields: Row) -> Row:
    """As JsonConverter writes it with schemas on."""
    row = {"type": "struct", "fields": list(fields)}
    parts = [row | {"field": "before"}, row | {"field": "after"}]
    return {"schema": {"type": "struct", "fields": parts}, "payload": event}


def flattened(event: Row) -> Row:
    """As ExtractNewRecordState leaves it, with fields added and deletes rewritten."""
    added = {f"__source_{name}": event["source"][name] for name in SOURCE_FIELDS}
    image = event["before"] if event["op"] == "d" else event["after"]
    deleted = "true" if event["op"] == "d" else "false"
    return image | {"__op": event["op"], "__deleted": deleted} | added


ENVELOPES = {
    "plain": lambda event: event,
    "with schema": with_schema,
    "flattened": flattened,
    "flattened, with schema": lambda event: {
        "schema": {"type": "struct", "fields": []},
        "payload": flattened(event),
    },
}
CHANGES = [
    envelope(0, BRIEF),
    envelope(1, BRIEF | {"count": 4, "label": None}, op="u", before=BRIEF),
    envelope(2, None, op="d", before=BRIEF),
    envelope(3, BRIEF | {"id": 2, "hat": "red"}, op="r", snapshot="last"),
]
OF_A_LANDING = {"_batch_id", "_landed_at"}


@pytest.mark.parametrize("name", ENVELOPES)
def test_each_envelope_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    rows = []
    for form in ("plain", name):
        lake = Lake(tmp_path / form, Contracts([NARROW]))
        lake.deliver(*(message(n, ENVELOPES[form](event)) for n, event in enumerate(CHANGES)))
        assert lake.reasons() == []
        rows.append([{k: v for k, v in r.items() if k not in OF_A_LANDING} for r in lake.rows()])
    assert rows[0] == rows[1]
    assert [row["_op"] for row in rows[1]] == ["c", "u", "d", "r"]
    assert json.loads(rows[1][3]["_extra"]) == {"hat": "red"}


def test_an_event_that_a_registry_decoded_lands_like_text(lake: Lake) -> None:
    line = json.loads(message(0, None, key={"id": 1}))
    lake.deliver(json.dumps(line | {"payload": CHANGES[0]}).encode())
    assert (lake.row()["id"], lake.row()["label"], lake.row()["_op"]) == (1, "one", "c")


def unscaled(number: int) -> str:
    size = (number.bit_length() + 8) // 8
    return base64.b64encode(number.to_bytes(size, "big", signed=True)).decode()


DECIMAL = "org.apache.kafka.connect.data.Decimal"
INSTANT = datetime(2024, 5, 6, 10, 0, 0, 123000, UTC)
BEFORE_1970 = datetime(1969, 12, 31, 23, 59, 59, 999000, UTC)
MILLIS = int(INSTANT.timestamp() * 1000)
ENCODED: list[tuple[str, str, str, Any, Any]] = [
    ("day", "days", "io.debezium.time.Date", 19849, date(2024, 5, 6)),
    ("day", "days", "org.apache.kafka.connect.data.Date", -719162, date(1, 1, 1)),
    ("at", "millis", "io.debezium.time.Timestamp", MILLIS, INSTANT),
    ("at", "micros", "io.debezium.time.MicroTimestamp", MILLIS * 1000, INSTANT),
    ("at", "nanos", "io.debezium.time.NanoTimestamp", MILLIS * 1_000_000, INSTANT),
    ("at", "millis", "io.debezium.time.Timestamp", -1, BEFORE_1970),
    ("price", "base64", DECIMAL, unscaled(1230), Decimal("12.30")),
    ("price", "base64", DECIMAL, unscaled(-1), Decimal("-0.01")),
    ("price", "base64", DECIMAL, unscaled(-32768), Decimal("-327.68")),
    ("price", "base64", DECIMAL, unscaled(0), Decimal("0.00")),
    ("price", "base64", DECIMAL, unscaled(10**18 - 1), Decimal("9999999999999999.99")),
]  # fmt: skip


@pytest.mark.parametrize(("column", "encoding", "semantic", "value", "expected"), ENCODED)
def test_an_encoded_value_is_told_by_the_contract_or_by_the_schema(
    tmp_path: Path, column: str, encoding: str, semantic: str, value: Any, expected: Any
) -> None:
    encoded = [
        Column(**c.model_dump() | {"encoding": encoding}) if c.name == column else c
        for c in THING.columns
    ]
    told = THING.model_copy(update={"columns": tuple(encoded)})
    by_contract = Lake(tmp_path / "contract", Contracts([told]))
    by_contract.deliver(thing(1, **WHOLE | {column: value}))
    by_schema = Lake(tmp_path / "schema", Contracts([THING]))
    field = {"field": column, "name": semantic, "parameters": {"scale": "2"}}
    plain = thing(0, **WHOLE)
    poison = [message(2, "no JSON"), message(3, {"schema": 5, "payload": 6}), message(4, None)]
    event = with_schema(envelope(1, WHOLE | {column: value}), field)
    by_schema.deliver(plain, message(1, event), *poison)
    assert by_contract.reasons() == []
    assert by_schema.reasons() == ["broken_json", "not_a_change_event"]
    assert by_contract.row()[column] == expected
    assert [row[column] for row in by_schema.rows()] == [by_schema.rows()[0][column], expected]
    assert by_schema.rows()[0]["price"] == Decimal("12.30")


def test_an_encoded_value_that_cannot_be_read_is_a_dead_letter(tmp_path: Path) -> None:
    columns = [
        Column(**c.model_dump() | {"encoding": "base64"}) if c.name == "price" else c
        for c in THING.columns
    ]
    lake = Lake(tmp_path, Contracts([THING.model_copy(update={"columns": tuple(columns)})]))
    broken = ("?", "QQ", unscaled(10**18), unscaled(10**60))
    lines = [thing(n, **WHOLE | {"price": text}) for n, text in enumerate(broken)]
    lake.deliver(*lines, thing(9, **WHOLE | {"price": unscaled(5)}))
    assert lake.reasons() == ["wrong_type"] * len(broken)
    assert lake.row()["price"] == Decimal("0.05")


@pytest.mark.parametrize(
    "fields",
    [{"day": "infinity"}, {"at": "-infinity"}, {"at": "infinity", "day": "-infinity"}],
)
def test_an_infinite_time_is_empty_and_its_text_is_kept(typed: Lake, fields: Row) -> None:
    typed.deliver(thing(1, **WHOLE | fields | {"hat": "red"}), thing(2, **WHOLE | fields))
    first, second = typed.rows()
    assert all(first[name] is None for name in fields)
    assert json.loads(first["_extra"]) == fields | {"hat": "red"}
    assert json.loads(second["_extra"]) == fields


def test_a_fraction_below_the_microsecond_is_cut_and_its_text_is_kept(typed: Lake) -> None:
    fine = "2024-05-06T10:00:00.123456789Z"
    typed.deliver(
        thing(1, **WHOLE | {"at": fine}), thing(2, **WHOLE | {"at": fine.replace("789", "000")})
    )
    first, second = typed.rows()
    assert first["at"] == second["at"] == datetime(2024, 5, 6, 10, 0, 0, 123456, UTC)
    assert json.loads(first["_extra"]) == {"at": fine}
    assert second["_extra"] is None


MARKER = "__debezium_unavailable_value"
FORMS = {
    "text": MARKER,
    "bytes": base64.b64encode(MARKER.encode()).decode(),
    "bytes in hex": MARKER.encode().hex(),
    "array": [MARKER],
    "array of bytes": [base64.b64encode(MARKER.encode()).decode()],
    "array of integers": list(MARKER.encode()),
    "array of uuids": ["b68a35a7-17ad-35b3-af2a-ae46edb4545a"],
    "hstore": {MARKER: MARKER},
}


def toasted(toast: bool | None, **table: Any) -> Contracts:
    columns = [
        Column(**c.model_dump() | {"toast": toast}) if c.name == "label" else c
        for c in NARROW.columns
    ]
    return Contracts([NARROW.model_copy(update={"columns": tuple(columns)} | table)])


@pytest.mark.parametrize("form", FORMS)
def test_a_value_left_in_toast_storage_is_named_not_landed(tmp_path: Path, form: str) -> None:
    lake = Lake(tmp_path, toasted(True))
    lake.deliver(thing(0), thing(1, label=FORMS[form]), thing(2, label=None))
    assert [row["label"] for row in lake.rows()] == ["one", None, None]
    assert [row["_unavailable"] for row in lake.rows()] == [[], ["label"], []]


def test_a_marker_in_a_column_of_which_nothing_is_told_is_a_dead_letter(lake: Lake) -> None:
    lake.deliver(thing(0), thing(1, label=MARKER))
    assert lake.reasons() == ["unavailable_value"]
    assert "label" in lake.letters()[0]["reason"]
    assert "toast: true" in lake.letters()[0]["reason"]
    assert lake.offsets() == [0]


def test_a_marker_in_a_column_that_is_never_toasted_is_text(tmp_path: Path) -> None:
    lake = Lake(tmp_path, toasted(False))
    lake.deliver(thing(1, label=MARKER))
    assert (lake.row()["label"], lake.row()["_unavailable"]) == (MARKER, [])


def test_another_marker_may_be_configured(tmp_path: Path) -> None:
    lake = Lake(tmp_path, toasted(True, unavailable_marker="(unchanged)"))
    lake.deliver(thing(1, label="(unchanged)"), thing(2, label=MARKER))
    assert [row["label"] for row in lake.rows()] == [None, MARKER]
    assert [row["_unavailable"] for row in lake.rows()] == [["label"], []]


@pytest.mark.parametrize("form", [{"id": 7}, {"schema": {}, "payload": {"id": "7"}}])
def test_a_change_of_key_tells_the_former_key(lake: Lake, form: Row) -> None:
    headers = ["other", "x", "__debezium.oldkey", json.dumps(form)]
    lake.deliver(thing(0), message(1, envelope(1, BRIEF), headers=headers))
    assert [row["_former_key"] for row in lake.rows()] == [None, ["7"]]


def test_a_table_without_key_lands_with_the_order_in_the_transaction(tmp_path: Path) -> None:
    lake = Lake(tmp_path, Contracts([NARROW.model_copy(update={"key": ()})]))
    event = envelope(1, BRIEF) | {"transaction": {"id": "7:9", "total_order": 3}}
    lake.deliver(message(0, envelope(0, BRIEF | {"id": None})), message(1, event))
    assert lake.reasons() == []
    assert [row["_transaction_order"] for row in lake.rows()] == [None, 3]


def test_the_source_block_of_a_flattened_event_may_be_short(lake: Lake) -> None:
    row = BRIEF | {"__op": "c", "__lsn": 5, "__ts_ms": source()["ts_ms"]}
    lake.deliver(message(0, row), message(1, BRIEF))
    assert lake.row()["_source_position"].endswith(".1." + "5".zfill(20))
    assert lake.reasons() == ["not_a_change_event"]


@pytest.mark.parametrize(
    "header", ["", "Struct{id=1}", "null", "[]", '{"other": 1}', '{"id": "x"}']
)
def test_a_former_key_that_cannot_be_read_is_no_former_key(lake: Lake, header: str) -> None:
    lake.deliver(message(1, envelope(1, BRIEF), headers=["__debezium.oldkey", header]))
    assert lake.reasons() == []
    assert lake.row()["_former_key"] is None


def test_a_former_key_is_decoded_like_the_key(tmp_path: Path) -> None:
    columns = (Column(name="id", type="date", encoding="days"), *NARROW.columns[1:])
    lake = Lake(tmp_path, Contracts([NARROW.model_copy(update={"columns": columns})]))
    headers = ["__debezium.oldkey", json.dumps({"id": 19849})]
    lake.deliver(message(1, envelope(1, BRIEF | {"id": 19850}), headers=headers))
    assert (lake.row()["id"], lake.row()["_former_key"]) == (date(2024, 5, 7), ["2024-05-06"])


@pytest.mark.parametrize(
    "schema",
    [5, [], {}, {"fields": 5}, {"fields": ["x"]}, {"fields": [{"field": "after", "fields": 1}]},
     {"fields": [{"field": "after", "fields": [{"name": [], "field": "id"}]}]},
     {"fields": [{"field": "after", "fields": [{"name": DECIMAL, "parameters": "x"}]}]}],
)  # fmt: skip
def test_a_schema_of_another_shape_is_passed_over(lake: Lake, schema: Any) -> None:
    lake.deliver(message(1, {"schema": schema, "payload": envelope(1, BRIEF)}))
    assert lake.reasons() == []
    assert lake.row()["label"] == "one"


def test_columns_may_be_called_like_parts_of_an_envelope(tmp_path: Path) -> None:
    columns = (
        *NARROW.columns,
        Column(name="payload", type="varchar"),
        Column(name="op", type="varchar"),
    )
    lake = Lake(tmp_path, Contracts([NARROW.model_copy(update={"columns": columns})]))
    row = BRIEF | {"payload": '{"a": 1}', "op": "buy"}
    lake.deliver(message(0, flattened(envelope(0, row))), message(1, envelope(1, row)))
    assert lake.reasons() == []
    assert [(r["payload"], r["op"], r["_op"]) for r in lake.rows()] == [
        ('{"a": 1}', "buy", "c")
    ] * 2


def test_a_key_finer_than_microseconds_is_a_dead_letter(tmp_path: Path) -> None:
    columns = (Column(name="id", type="timestamp"), *NARROW.columns[1:])
    lake = Lake(tmp_path, Contracts([NARROW.model_copy(update={"columns": columns})]))
    times = [f"2024-05-06T10:00:00.{fraction}Z" for fraction in ("1234561", "1234562", "123456")]
    lake.deliver(*(message(n, envelope(n, BRIEF | {"id": at})) for n, at in enumerate(times)))
    assert lake.reasons() == ["wrong_type", "wrong_type"]
    assert lake.offsets() == [2]


def test_a_number_of_milliseconds_is_infinite_only_where_no_date_is(tmp_path: Path) -> None:
    columns = [
        Column(**c.model_dump() | {"encoding": "millis"}) if c.name == "at" else c
        for c in THING.columns
    ]
    lake = Lake(tmp_path, Contracts([THING.model_copy(update={"columns": tuple(columns)})]))
    lake.deliver(thing(0, **WHOLE | {"at": 2**31 - 1}), thing(1, **WHOLE | {"at": 2**63 - 1}))
    assert lake.rows()[0]["at"] == datetime(1970, 1, 25, 20, 31, 23, 647000, UTC)
    assert (lake.rows()[1]["at"], json.loads(lake.rows()[1]["_extra"])) == (
        None,
        {"at": str(2**63 - 1)},
    )


def test_a_negative_scale_adds_zeros(typed: Lake) -> None:
    field = {"field": "price", "name": DECIMAL, "parameters": {"scale": "-2"}}
    typed.deliver(message(1, with_schema(envelope(1, WHOLE | {"price": unscaled(12)}), field)))
    assert typed.row()["price"] == Decimal("1200.00")


# However a JSON text begins and ends


def test_space_around_a_message_or_its_payload_changes_nothing(lake: Lake) -> None:
    padded = message(2, f"\n {json.dumps(envelope(2, BRIEF | {'id': 2}))}\t")
    report = lake.deliver(thing(0), b"  " + thing(1) + b" ", padded, b" 42 ", thing(3))
    assert (report.landed, lake.reasons()) == (4, ["broken_envelope"])
    assert lake.offsets() == [0, 1, 2, 3]
    lake.assert_reconciled()


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_lines_that_are_whole_or_cut_off_are_not_looked_at_twice(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, end: bytes
) -> None:
    monkeypatch.delattr(Checking, "struct")
    lake.write([thing(0), thing(1)[:-20], thing(2)], end=end)
    assert lake.land().landed == 2


def test_what_only_looks_like_json_is_a_dead_letter_and_its_neighbours_land(lake: Lake) -> None:
    bad = [b'{"topic": }', message(1, '{"op": }')]
    report = lake.deliver(thing(0), *bad, thing(2))
    assert (report.landed, lake.reasons()) == (2, ["broken_json", "broken_json"])
    assert lake.offsets() == [0, 2]
    lake.assert_reconciled()
