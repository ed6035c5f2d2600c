"""Landing from Kafka, on librdkafka's mock cluster: the same tables as from files, exactly once."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import confluent_kafka
import pytest
from confluent_kafka import TopicPartition
from structlog.testing import capture_logs
from typer.testing import CliRunner

from pipelines import chain, cli, logs
from pipelines.cdc import kafka as kafka_landing
from pipelines.cdc.kafka import KafkaSource
from pipelines.cdc.kafka_cluster import (
    Bounds,
    Cluster,
    check_identity,
    read_properties,
    start_offset,
    stream_name,
)
from pipelines.cdc.kafka_messages import Batch
from pipelines.cdc.land import LandReport, _TopicLander
from pipelines.cdc.metrics import Metrics, save_stream, served, streams
from pipelines.contract import Contracts
from pipelines.errors import LakehouseError, UsageError
from pipelines.lake.ids import new_id
from tests.unit.events import BRIEF, NARROW, TOPIC, Lake, envelope, message, thing, things
from tests.unit.kafka import Broker, Follower, land_from, samples, source
from tests.unit.test_exactly_once import CRASHES

HEARTBEAT = "__debezium-heartbeat.shop"
UNHEARD = "shop.public.unheard_of"
OTHER = NARROW.model_copy(update={"name": "other"})


@pytest.fixture(scope="module")
def cluster() -> Broker:
    """A broker for tests that only look at it."""
    return Broker()


@pytest.fixture
def broker() -> Broker:
    """A broker without topics."""
    return Broker()


def binary(offset: int, payload: bytes, **changes: Any) -> bytes:
    """A message whose payload is no text, as a line."""
    packed = base64.b64encode(payload).decode()
    return message(offset, packed, **changes)[:-1] + b',"encoding":"base64"}'


MIXED = [
    *things(0, 2),
    message(3, None, key={"id": 2}),
    message(4, "no JSON at all"),
    binary(5, b"\xff\xfe raw"),
    thing(6, count="x"),
    message(7, envelope(7, BRIEF | {"id": 7}), headers=["trace", "a=1", "empty", None]),
    # The image does not tell the key, the message key does.
    message(8, envelope(8, {"label": "l", "count": 1}), key={"id": 8}),
    message(9, {"payload": envelope(9, BRIEF), "schema": {}}),
    message(10, ""),
    *things(0, 3, partition=2),
]
CONTROL = [
    message(0, {"ts_ms": 1}, topic=HEARTBEAT, key={"serverName": "shop"}),
    message(0, {"status": "BEGIN"}, topic="shop.transaction"),
    message(0, {"ddl": "create table"}, topic="shop"),
    message(0, {"a": 1}, topic=UNHEARD),
]
MIXED_COUNTS = {"consumed": 15, "landed": 10, "dead": 4, "tombstone": 1}


def without(rows: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in names} for row in rows]


# The same as from files


def test_messages_from_kafka_land_as_those_of_capture_files(tmp_path: Path, broker: Broker) -> None:
    by_file = Lake(tmp_path / "file", Contracts([NARROW]))
    by_kafka = Lake(tmp_path / "kafka", Contracts([NARROW]))
    by_file.write(MIXED)
    for line in CONTROL:
        by_file.write([line], topic=json.loads(line)["topic"])
    broker.send(*MIXED, *CONTROL)
    by_file.land()
    report = land_from(broker, by_kafka)

    run = ("_batch_id", "_landed_at")
    assert without(by_kafka.rows(), *run) == without(by_file.rows(), *run)
    assert (report.landed, report.dead) == (10, 5)
    place = ("topic", "partition", "offset", "reason_code", "reason", "line", "letter_id",
             "contract_version")  # fmt: skip
    letters = [
        sorted(([letter[name] for name in place] for letter in lake.letters()), key=str)
        for lake in (by_kafka, by_file)
    ]
    assert letters[0] == letters[1]
    assert len(letters[0]) == 5
    for topic in (TOPIC, HEARTBEAT, "shop.transaction", "shop", UNHEARD):
        assert by_kafka.counts(topic) == by_file.counts(topic), topic
    assert by_kafka.counts() == MIXED_COUNTS
    by_kafka.assert_reconciled()


def test_a_dead_letter_of_kafka_can_be_landed_as_a_line(lake: Lake, broker: Broker) -> None:
    broker.send(binary(0, b"\xff\xfe raw"))
    broker.produce(TOPIC, 1, b"\xffkey", "{", headers=[("h", b"\xff"), ("h", None)])
    broker.flush()
    land_from(broker, lake)
    first, second = sorted((letter["line"] for letter in lake.letters()), key=len)
    assert base64.b64decode(json.loads(first)["payload"]) == b"\xff\xfe raw"
    told = json.loads(second)
    assert (told["payload"], told["key_encoding"], told["headers_in_base64"]) == (
        "{", "base64", [0],
    )  # fmt: skip
    assert base64.b64decode(told["key"]) == b"\xffkey"
    assert told["headers"] == ["h", "/w==", "h", None]
    report = lake.deliver(first, second)
    assert (report.replayed, report.dead) == (2, 0)


def test_a_key_that_is_no_text_does_not_keep_a_row_from_landing(lake: Lake, broker: Broker) -> None:
    broker.produce(TOPIC, 0, b"\xff\x00", json.dumps(envelope(0, BRIEF)))
    broker.produce(TOPIC, 0, None, json.dumps(envelope(1, BRIEF | {"id": 2})))
    broker.flush()
    land_from(broker, lake)
    assert [row["id"] for row in lake.rows()] == [1, 2]


# Where it reads on


def test_landing_again_reads_on_where_the_tables_end(lake: Lake, broker: Broker) -> None:
    broker.send(*MIXED)
    land_from(broker, lake)
    again = land_from(broker, lake)
    assert (again.landed, again.replayed, again.batches) == (0, 0, 0)
    assert list(again.topics) == [TOPIC]
    broker.send(*things(11, 12), *things(4, 5, partition=2), thing(0, partition=3))
    more = land_from(broker, lake)
    assert (more.landed, more.replayed, more.batches) == (5, 0, 1)
    assert lake.places()[-8:] == [
        (0, 12), (2, 0), (2, 1), (2, 2), (2, 3), (2, 4), (2, 5), (3, 0),
    ]  # fmt: skip
    lake.assert_reconciled()


def test_kafka_goes_on_where_capture_files_of_the_topic_ended(lake: Lake, broker: Broker) -> None:
    broker.send(*things(0, 9))
    lake.deliver(*things(0, 4))
    report = land_from(broker, lake)
    assert (report.landed, report.replayed) == (5, 0)
    assert lake.offsets() == list(range(10))


@pytest.mark.parametrize("where", [*CRASHES][:3])
def test_a_landing_cut_off_is_completed_from_kafka(lake: Lake, broker: Broker, where: str) -> None:
    broker.send(*MIXED)
    with pytest.MonkeyPatch.context() as patch:
        owner, name = CRASHES[where]

        def dying(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(owner, name, dying)
        with pytest.raises(KeyboardInterrupt):
            land_from(broker, lake)
    land_from(broker, lake)
    assert len(lake.rows()) == 10
    assert len(lake.letters()) == 4
    assert lake.counts() == MIXED_COUNTS
    lake.assert_reconciled()


def test_small_batches_land_the_same(lake: Lake, broker: Broker) -> None:
    broker.send(*MIXED)
    report = land_from(broker, lake, batch_rows=4)
    assert report.batches == 4
    assert lake.counts() == MIXED_COUNTS
    lake.assert_reconciled()


def test_a_batch_closes_by_bytes(lake: Lake, broker: Broker) -> None:
    broker.send(*things(0, 5))
    assert land_from(broker, lake, batch_bytes=1, batch_seconds=1000.0).batches > 1
    assert lake.offsets() == list(range(6))


def test_until_now_ends_where_the_topic_ended_at_the_start(
    lake: Lake, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.send(*things(0, 4))
    genuine = kafka_landing._Reader._assign_all

    def assign_all(self: Any, topics: Any) -> None:
        genuine(self, topics)
        broker.send(*things(5, 30))

    monkeypatch.setattr(kafka_landing._Reader, "_assign_all", assign_all)
    report = land_from(broker, lake, batch_rows=5)
    assert report.batches == 1
    assert lake.offsets() == [0, 1, 2, 3, 4]


# What must not be read


def test_a_topic_that_ends_before_what_has_landed_is_refused(lake: Lake, broker: Broker) -> None:
    lake.deliver(*things(0, 9))
    broker.send(*things(0, 4))
    with pytest.raises(LakehouseError, match="ends before offset 5, yet offset 9 has landed"):
        land_from(broker, lake)
    assert lake.offsets() == list(range(10))


def test_a_topic_of_another_cluster_is_refused_though_it_is_longer(
    lake: Lake, broker: Broker
) -> None:
    broker.send(*things(0, 2))
    land_from(broker, lake)
    other = Broker()
    other.send(*things(0, 9))
    with pytest.raises(LakehouseError, match=r"from cluster mock.* before, this is cluster mock"):
        land_from(other, lake)
    assert lake.offsets() == [0, 1, 2]


def test_a_topic_made_anew_under_its_name_is_refused_though_it_is_longer(
    lake: Lake, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.send(*things(0, 2))
    # The mock cluster does not tell topic ids.
    monkeypatch.setattr(Cluster, "topic_ids", lambda self, topics: dict.fromkeys(topics, "one"))
    land_from(broker, lake)
    assert land_from(broker, lake).landed == 0
    monkeypatch.setattr(Cluster, "topic_ids", lambda self, topics: dict.fromkeys(topics, "two"))
    broker.send(*things(3, 9))
    with pytest.raises(LakehouseError, match="its id was one and is two") as refused:
        land_from(broker, lake)
    assert "new snapshot" in refused.value.remedy
    assert lake.offsets() == [0, 1, 2]


def test_a_topic_whose_id_is_unknown_now_or_before_is_no_other_topic() -> None:
    sources = [stream_name("c", ""), f"{TOPIC}/a.jsonl"]
    check_identity(TOPIC, stream_name("c", "one"), sources)
    check_identity(TOPIC, stream_name("", ""), [stream_name("c", "one")])


def test_a_topic_made_anew_while_it_is_read_does_not_land(
    lake: Lake, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.send(*things(0, 9))
    told = iter(("one", "one", "two"))
    monkeypatch.setattr(
        Cluster, "topic_ids", lambda self, topics: dict.fromkeys(topics, next(told))
    )
    with pytest.raises(LakehouseError, match="its id was one and is two"):
        land_from(broker, lake, batch_rows=5)
    assert lake.offsets() == [0, 1, 2, 3, 4]


def test_messages_that_expired_unread_are_refused_unless_accepted() -> None:
    place, bounds = (TOPIC, 1), Bounds(low=20, high=30)
    with pytest.raises(LakehouseError, match="offsets 10 to 19 expired"):
        start_offset(place, 9, bounds, accept_gap=False)
    assert start_offset(place, 9, bounds, accept_gap=True) == 20
    assert start_offset(place, 19, bounds, accept_gap=False) == 20
    assert start_offset(place, 29, bounds, accept_gap=False) == 30
    assert start_offset(place, None, bounds, accept_gap=False) == 20
    with pytest.raises(LakehouseError, match="made anew"):
        start_offset(place, 30, bounds, accept_gap=True)


def test_an_unreachable_broker_is_one_clear_error(lake: Lake) -> None:
    with pytest.raises(LakehouseError, match=r"127\.0\.0\.1:1 did not answer.*refused") as failed:
        kafka_landing.land_kafka(
            source("127.0.0.1:1", answer_seconds=0.5), lake.contracts, lake.settings, new_id()
        )
    assert not isinstance(failed.value, UsageError)


def test_topics_that_match_nothing_are_listed(lake: Lake, broker: Broker) -> None:
    broker.send(message(0, "x", topic="billing.a.b"), message(0, "x", topic="shopping.a.b"))
    for topics in ("nothing.*", None):
        with pytest.raises(UsageError) as refused:
            land_from(broker, lake, topics=topics)
        assert "billing.a.b, shopping.a.b" in refused.value.remedy
    with pytest.raises(UsageError, match="no regular expression"):
        land_from(broker, lake, topics="(")


def test_only_topics_that_match_as_a_whole_are_landed(lake: Lake, broker: Broker) -> None:
    broker.send(thing(0), message(0, "x", topic=f"{TOPIC}.old"))
    assert list(land_from(broker, lake, topics=TOPIC).topics) == [TOPIC]


# Configuration


def test_properties_are_read_and_never_quoted(tmp_path: Path, lake: Lake, broker: Broker) -> None:
    file = tmp_path / "kafka.properties"
    file.write_text("# security\nsecurity.protocol = SASL_SSL\nsasl.password=a=b\n\n")
    assert read_properties(file) == {"security.protocol": "SASL_SSL", "sasl.password": "a=b"}
    file.write_text("fetch.min.bytes=1\ns3cret\n")
    with pytest.raises(UsageError, match="line 2 is not name=value") as refused:
        read_properties(file)
    assert "s3cret" not in str(refused.value)
    file.write_text("isolation.level=read_uncommitted")
    with pytest.raises(UsageError, match=r"isolation\.level is set by the landing"):
        read_properties(file)
    with pytest.raises(UsageError, match="cannot be read"):
        read_properties(tmp_path / "none")
    for properties in ({"security.protocol": "s3cret"}, {"sasl.pasword": "s3cret"}):
        with pytest.raises(UsageError, match=next(iter(properties))) as refused:
            land_from(broker, lake, properties=properties)
        assert "s3cret" not in str(refused.value)
    assert "s3cret" not in repr(KafkaSource("b", properties={"sasl.password": "s3cret"}))


def test_what_exactly_once_rests_on_is_asked_of_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(confluent_kafka, "Consumer", asked.append)
    Cluster("b", "g", {"client.id": "mine"}, 1.0)
    wanted = {
        "bootstrap.servers": "b",
        "group.id": "g",
        "client.id": "mine",
        "isolation.level": "read_committed",
        "auto.offset.reset": "error",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
    }
    assert wanted.items() <= asked[0].items()


def test_repeated_errors_of_the_client_are_logged_once(broker: Broker) -> None:
    cluster = Cluster(broker.bootstrap, "g", {}, 1.0)
    with capture_logs() as logged:
        for milliseconds in range(3):
            told = f"Connect failed (after {milliseconds}ms in state CONNECT)"
            cluster.note(confluent_kafka.KafkaError(-195, told))
    cluster.consumer.close()
    assert [entry["error"] for entry in logged] == ["Connect failed"]


def test_without_its_package_kafka_says_what_to_install(
    command: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    monkeypatch.setattr(sys, "argv", ["lakehouse", "land", "--kafka", "b:1"])
    monkeypatch.setattr(logs, "configure", lambda arguments: None)
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    assert "pip install 'lakehouse-platform[kafka]'" in capsys.readouterr().err


def test_the_command_line_starts_without_the_package_for_kafka() -> None:
    code = "import sys; sys.modules['confluent_kafka'] = None; import pipelines.cli"
    subprocess.run([sys.executable, "-c", code], check=True)


# Following


def test_following_lands_by_rows_and_by_seconds_until_it_is_stopped(
    lake: Lake, broker: Broker
) -> None:
    broker.send(*things(0, 1))
    land_from(broker, lake)
    broker.send(*things(2, 5))
    with Follower(broker, lake, batch_rows=4, batch_seconds=0.3) as follower:
        follower.wait_for(lambda: follower.value("consumed_total") == 4)
        broker.send(*things(6, 7))
        follower.wait_for(lambda: follower.value("consumed_total") == 6)
        follower.wait_for(lambda: follower.value("lag_messages") == 0)
        report = follower.stop()
    assert (report.landed, report.batches, report.replayed) == (6, 2, 0)
    assert lake.offsets() == list(range(8))
    assert broker.committed(TOPIC, 0, "lakehouse") == 8
    lake.assert_reconciled()


def test_who_asks_is_told_after_each_batch_what_has_landed_so_far(
    lake: Lake, broker: Broker
) -> None:
    told: list[int] = []
    broker.send(*things(0, 3))
    with Follower(
        broker, lake, batch_rows=4, batch_seconds=0.3,
        on_batch=lambda report: told.append(report.landed),
    ) as follower:  # fmt: skip
        follower.wait_for(lambda: told == [4])
        broker.send(*things(4, 5))
        follower.wait_for(lambda: told[-1] == 6)
        follower.stop()


def test_a_topic_that_comes_while_others_are_followed_is_followed_too(
    lake: Lake, broker: Broker
) -> None:
    broker.produce(HEARTBEAT, 0, None, json.dumps({"ts_ms": 1}))
    broker.flush()
    with Follower(broker, lake, batch_seconds=0.2, topics_seconds=0.3) as follower:
        follower.wait_for(lambda: follower.value("consumed_total") == 1)
        broker.send(*things(0, 2))
        follower.wait_for(lambda: follower.value("consumed_total") == 4)
        follower.stop()
    assert lake.offsets() == [0, 1, 2]
    lake.assert_reconciled()


def test_a_follower_refuses_a_topic_that_ends_before_what_has_landed(
    lake: Lake, broker: Broker
) -> None:
    lake.deliver(*things(0, 9))
    broker.send(*things(0, 4))
    follower = Follower(broker, lake)
    with pytest.raises(LakehouseError, match="ends before offset 5"), follower:
        follower.wait_for(lambda: False)
    assert lake.offsets() == list(range(10))


def test_what_a_follower_has_not_landed_goes_to_the_next_member_of_its_group(
    lake: Lake, broker: Broker
) -> None:
    broker.send(thing(0))
    slow = Follower(broker, lake, batch_seconds=1000.0)
    quick = Follower(broker, lake, batch_seconds=0.2)
    with slow, quick:
        slow.wait_for(lambda: len(slow.owned()) == len(quick.owned()) == 2)
        assert slow.owned() | quick.owned() == {0, 1, 2, 3}
        broker.send(thing(1), *(thing(n, partition=p) for p in (1, 2, 3) for n in (0, 1)))
        slow.wait_for(lambda: slow.value("buffered_messages") == 4)
        quick.wait_for(lambda: quick.value("consumed_total") == 4)
        assert slow.stop().landed == 0
        quick.wait_for(lambda: quick.value("consumed_total") == 8)
        assert quick.stop().replayed == 0
    assert lake.places() == [(p, n) for p in range(4) for n in (0, 1)]
    lake.assert_reconciled()


def test_a_revoked_partition_takes_its_unlanded_messages_along(
    lake: Lake, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.send(*things(0, 2), *things(0, 2, partition=1))
    genuine = kafka_landing._Reader._settle
    revoked: list[int] = []

    def settle(self: Any) -> None:
        genuine(self)
        if self._batch.rows == 6 and not revoked:
            revoked.append(1)
            self._on_revoke(self._consumer, [TopicPartition(TOPIC, 1)])

    monkeypatch.setattr(kafka_landing._Reader, "_settle", settle)
    report = land_from(broker, lake)
    assert revoked
    assert report.landed == 3
    assert lake.places() == [(0, 0), (0, 1), (0, 2)]


def test_a_partition_is_given_away_after_its_last_commit(
    lake: Lake, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revocation in mid-commit waits, so that the next owner starts behind it."""
    broker.send(*things(0, 3))
    began, may_end = threading.Event(), threading.Event()
    genuine = _TopicLander.land_messages
    order: list[str] = []

    def slow(self: Any, *arguments: Any) -> int:
        began.set()
        assert may_end.wait(30)
        batches = genuine(self, *arguments)
        order.append("landed")
        return batches

    monkeypatch.setattr(_TopicLander, "land_messages", slow)
    genuine_start = kafka_landing._Reader._start_landing

    def start(self: Any) -> None:
        genuine_start(self)
        if not order:
            assert began.wait(30)
            threading.Timer(0.05, may_end.set).start()
            self._on_revoke(self._consumer, self._consumer.assignment())
            order.append("revoked")
            self._targets.clear()

    monkeypatch.setattr(kafka_landing._Reader, "_start_landing", start)
    land_from(broker, lake, batch_rows=2)
    assert order[:2] == ["landed", "revoked"]
    assert lake.offsets() == [0, 1]
    land_from(broker, lake)
    assert lake.offsets() == [0, 1, 2, 3]
    lake.assert_reconciled()


def test_a_member_that_lost_its_partitions_unawares_doubles_nothing(
    lake: Lake, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.send(*MIXED)
    genuine = kafka_landing._Reader._start_landing
    others: list[LandReport] = []

    def start(self: Any) -> None:
        if not others:
            others.append(LandReport())
            others.append(land_from(broker, lake))
        genuine(self)

    monkeypatch.setattr(kafka_landing._Reader, "_start_landing", start)
    report = land_from(broker, lake)
    assert (report.landed, report.dead, report.replayed) == (0, 0, len(MIXED))
    assert (others[1].landed, others[1].dead) == (10, 4)
    assert lake.counts() == MIXED_COUNTS
    lake.assert_reconciled()


def test_a_full_batch_waits_for_the_one_before_without_growing(
    lake: Lake, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.send(*things(0, 40))
    held: list[int] = []
    landing, waited = threading.Event(), threading.Event()
    genuine = _TopicLander.land_messages

    def slow(self: Any, *arguments: Any) -> int:
        landing.set()
        assert waited.wait(30)
        return genuine(self, *arguments)

    genuine_read = kafka_landing._Reader._read

    def read(self: Any, count: int, seconds: float) -> Any:
        found = genuine_read(self, count, seconds)
        if landing.is_set() and count == 1:
            held.append(self._batch.rows)
            if len(held) == 3:
                waited.set()
        return found

    monkeypatch.setattr(kafka_landing, "_GAUGE_SECONDS", 0.02)
    monkeypatch.setattr(_TopicLander, "land_messages", slow)
    monkeypatch.setattr(kafka_landing._Reader, "_read", read)
    land_from(broker, lake, batch_rows=5)
    # The first read while waiting may have come before the landing told that it is on.
    assert held[0] in (5, 6)
    assert held[:3] == list(range(held[0], held[0] + 3))
    assert lake.offsets() == list(range(41))


def test_a_batch_forgets_partitions_that_went_away() -> None:
    class Message:
        def __init__(self, partition: int) -> None:
            self._partition = partition

        def topic(self) -> str:
            return TOPIC

        def partition(self) -> int:
            return self._partition

        def __len__(self) -> int:
            return 7

    batch = Batch()
    batch.add([Message(0), Message(1), Message(1)])  # type: ignore[list-item]
    batch.reached = {(TOPIC, 0): 1, (TOPIC, 1): 2}
    assert (batch.rows, batch.bytes) == (3, 21)
    assert batch.drop({(TOPIC, 1)}) == 2
    assert (batch.rows, batch.bytes, batch.places) == (1, 7, {(TOPIC, 0)})
    assert batch.reached == {(TOPIC, 0): 1}
    assert batch.began is not None
    assert batch.drop({(TOPIC, 0)}) == 1
    assert batch.began is None


# The command line


@pytest.fixture
def command(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call `lakehouse` in this process, on the small lake."""
    monkeypatch.setattr(chain, "load_contracts", lambda folder: lake.contracts)
    monkeypatch.setattr(cli, "load_settings", lambda home, target: lake.settings)
    lake.settings.home.mkdir(parents=True)

    def call(*arguments: str) -> Any:
        with capture_logs():
            result = CliRunner().invoke(cli.app, arguments)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


def test_the_command_lands_and_status_tells_lag_and_freshness(
    command: Any, lake: Lake, broker: Broker
) -> None:
    broker.send(*MIXED)
    landed = command("land", "--kafka", broker.bootstrap, "--json")
    assert json.loads(landed.stdout)[TOPIC]["landed"] == 10
    (stream,) = json.loads(command("status", "--json").stdout)["streams"]
    assert (stream["topic"], stream["lag_messages"], stream["rows"]) == (TOPIC, 0, 15)
    assert stream["rows_per_second"] > 0
    assert stream["freshness_seconds"] > 0
    assert stream["newest_source_ts"].startswith("2017-03-20T08:53:20")
    assert TOPIC in command("status").stdout


def test_the_command_follows_until_a_signal_comes(command: Any, lake: Lake, broker: Broker) -> None:
    broker.send(*things(0, 2))
    former = signal.getsignal(signal.SIGTERM)

    def end_when_landed() -> None:
        while not list(lake.raw.glob(f"{TOPIC}/year=*")) or not lake.batches():
            threading.Event().wait(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    ender = threading.Thread(target=end_when_landed)
    ender.start()
    result = command("land", "--kafka", broker.bootstrap, "--follow", "--batch-seconds", "0.2",
                     "--group", "mine", "--metrics-port", "0")  # fmt: skip
    ender.join()
    assert result.exit_code == 0
    assert lake.offsets() == [0, 1, 2]
    assert signal.getsignal(signal.SIGTERM) is former
    assert broker.committed(TOPIC, 0, "mine") == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ("land", "--follow"),
        ("land", "--metrics-port", "0"),
        ("land", "--topics", "x"),
        ("run", "--accept-gap"),
        ("land", "--kafka", "b:1", "--from", "."),
        ("run", "--kafka", "b:1", "--from", "."),
    ],
)
def test_options_that_do_not_go_together_are_refused(command: Any, arguments: Any) -> None:
    with pytest.raises(UsageError):
        command(*arguments)


# Telling


def test_metrics_are_served_as_prometheus_reads_them() -> None:
    metrics = Metrics()
    metrics.add("messages_total", 2, topic=TOPIC, disposition="landed")
    metrics.add("messages_total", 3, topic=TOPIC, disposition="landed")
    metrics.set("lag_messages", 7, topic='a"b\\c', partition="0")
    metrics.set("lag_messages", 1, topic=TOPIC, partition="1")
    metrics.forget("lag_messages", topic=TOPIC, partition="1")
    with served(metrics, "127.0.0.1", 0) as port:
        with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            found = list(samples(answer.read().decode()))
        with (
            pytest.raises(LakehouseError, match="cannot be served"),
            served(metrics, "127.0.0.1", port),
        ):
            pass
    labels = {"topic": TOPIC, "disposition": "landed"}
    assert ("lakehouse_landing_messages_total", labels, 5.0) in found
    assert [value for name, _, value in found if name.endswith("lag_messages")] == [7.0]
    assert {"topic": 'a"b\\c', "partition": "0"} in [place for _, place, _ in found]


def test_followers_of_one_topic_keep_each_others_lag(tmp_path: Path) -> None:
    save_stream(tmp_path, TOPIC, {"rows": 1}, {0: 5, 1: 6})
    save_stream(tmp_path, TOPIC, {"rows": 2}, {1: 0})
    (stream,) = streams(tmp_path)
    assert (stream["lag_messages"], stream["rows"]) == (5, 2)
    (tmp_path / "streams" / "torn.json").write_text("{")
    assert len(streams(tmp_path)) == 1
