"""What Spark's workers do, without Spark: the decoder's rows are those that a landing writes."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.cdc.decode import FORMER_KEY_HEADER, HEARTBEAT
from pipelines.cdc.erasures import Erased
from pipelines.lake.tables import raw_schema
from spark_jobs.checkpoint import Checkpoint
from spark_jobs.decoding import DISPOSITION, LINE, OFFSET, PARTITION, Decoding
from tests.unit.events import BRIEF, T0_US, TOPIC, Lake, envelope, message

# As Spark's Kafka source hands them to a worker.
_SOURCE = pa.schema(
    [
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("timestamp", pa.timestamp("us", tz="UTC")),
        ("timestampType", pa.int32()),
        ("headers", pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))),
    ]
)
_LANDED_AT = datetime(2026, 1, 2, tzinfo=UTC)


def from_spark(lines: Sequence[bytes]) -> pa.RecordBatch:
    """Lines of a capture file as rows of Spark's Kafka source."""
    rows = []
    for line in map(json.loads, lines):
        headers = line["headers"]
        pairs = zip(headers[::2], headers[1::2], strict=True)
        rows.append(
            {
                "key": line["key"] and line["key"].encode(),
                "value": None if line["payload"] is None else line["payload"].encode(),
                "topic": line["topic"],
                "partition": line["partition"],
                "offset": line["offset"],
                "timestamp": datetime.fromtimestamp(T0_US / 1e6, UTC),
                "timestampType": 0,
                "headers": [{"key": k, "value": v.encode()} for k, v in pairs] or None,
            }
        )
    return pa.RecordBatch.from_pylist(rows, _SOURCE)


def decoding(lake: Lake, **changes: Any) -> Decoding:
    given: dict[str, Any] = {
        "topic": TOPIC, "table": lake.contracts.by_topic[TOPIC], "control": None, "batch_id": "b",
        "landed_at": _LANDED_AT, "masker": lake.masker, "erased": Erased(lake.masker),
    }  # fmt: skip
    # It goes to the workers as bytes.
    found: Decoding = pickle.loads(pickle.dumps(Decoding(**given | changes)))  # noqa: S301
    return found


def test_rows_and_letters_are_those_of_a_landing(lake: Lake) -> None:
    moved = [FORMER_KEY_HEADER, json.dumps({"id": 1})]
    lines = [
        message(0, envelope(0, BRIEF), key={"id": 1}),
        message(1, envelope(1, BRIEF | {"id": 2}), key={"id": 2}, headers=moved),
        message(2, None, key={"id": 1}),
        message(3, '{"cut', key={"id": 1}, headers=["h", "é"]),
        message(4, envelope(4, BRIEF | {"count": "many"}), key={"id": 1}, partition=2),
        message(5, envelope(5, None, op="d", before=BRIEF), key={"id": 1}),
    ]
    lake.deliver(*lines)
    work = decoding(lake)
    batches = list(work(iter([from_spark(lines[:2]), from_spark(lines[2:])])))
    assert [batch.schema for batch in batches] == [work.schema] * 2
    told = pa.Table.from_batches(batches).to_pylist()
    assert [row[DISPOSITION] for row in sorted(told, key=lambda row: row[OFFSET])] == [
        "landed", "landed", "tombstone", "dead", "dead", "landed",
    ]  # fmt: skip
    names = raw_schema(lake.contracts.by_topic[TOPIC]).names
    landed = [{n: row[n] for n in names} for row in told if row[DISPOSITION] == "landed"]
    changed = {"_batch_id": "b", "_landed_at": _LANDED_AT}
    assert sorted(landed, key=lambda row: row["_offset"]) == [row | changed for row in lake.rows()]
    assert landed[1]["_former_key"] == ["1"]
    letters = {(row[PARTITION], row[OFFSET]): row[LINE] for row in told if row[LINE]}
    opened = {place: json.loads(lake.masker.unseal(line)) for place, line in letters.items()}
    assert opened == {
        (letter["partition"], letter["offset"]): json.loads(letter["line"])
        for letter in lake.letters()
    }


def test_control_topics_and_topics_without_a_contract_have_no_rows(lake: Lake) -> None:
    beat = [message(0, {"ts_ms": 1}, topic="__debezium-heartbeat.shop")]
    (told,) = decoding(lake, topic="__debezium-heartbeat.shop", table=None, control=HEARTBEAT)(
        iter([from_spark(beat)])
    )
    assert told[DISPOSITION].to_pylist() == [HEARTBEAT]
    unheard = [message(7, envelope(0, BRIEF), topic="shop.public.unheard")]
    (told,) = decoding(lake, topic="shop.public.unheard", table=None)(iter([from_spark(unheard)]))
    assert told.select([OFFSET, DISPOSITION]).to_pylist() == [{OFFSET: 7, DISPOSITION: "dead"}]
    assert b"unheard" in lake.masker.unseal(told[LINE][0].as_py())


def test_no_line_and_no_secret_stands_in_the_clear(lake: Lake) -> None:
    work = decoding(lake)
    (told,) = work(iter([from_spark([message(0, "in the clear", key={"id": 1})])]))
    assert b"in the clear" not in told[LINE][0].as_py()
    assert "secret" not in repr(work)
    assert "Masker" not in repr(work)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    """As Spark writes one."""
    (tmp_path / "metadata").write_text('{"id":"b5c1"}')
    (tmp_path / "offsets").mkdir()
    for number, milliseconds in ((0, 1_700_000_000_123), (1, 1_700_000_010_000)):
        told = {"batchWatermarkMs": 0, "batchTimestampMs": milliseconds, "conf": {}}
        (tmp_path / "offsets" / str(number)).write_text(f"v1\n{json.dumps(told)}\n{{}}")
    return Checkpoint(tmp_path)


def test_a_batch_keeps_its_id_and_sorts_by_time(checkpoint: Checkpoint, tmp_path: Path) -> None:
    first, second = checkpoint.batch_id(0), checkpoint.batch_id(1)
    assert first.startswith("20231114T221320123000-")
    assert first == Checkpoint(tmp_path).batch_id(0)
    assert first < second
    (tmp_path / "metadata").write_text('{"id":"another"}')
    assert checkpoint.batch_id(0) != first
