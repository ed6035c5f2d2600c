"""Topics that carry several tables: each message lands in its table, and is counted in both."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from deltalake import write_deltalake
from deltalake.exceptions import CommitFailedError
from typer.testing import CliRunner

from pipelines import cli
from pipelines.cdc.dead_letters import DeadLetters
from pipelines.cdc.kafka_cluster import Cluster
from pipelines.cdc.land import _TopicLander
from pipelines.cdc.ledger import Ledger, totals
from pipelines.contract import Contracts, Table
from pipelines.errors import LakehouseError, UsageError
from tests.unit.events import BRIEF, KEY, NARROW, Lake, Row, envelope, message
from tests.unit.kafka import Broker, Follower, land_from
from tests.unit.test_dead_letters import CRASHES as REPLAY_CRASHES
from tests.unit.test_dead_letters import cut_off
from tests.unit.test_exactly_once import CRASHES, crash

ALL = "merged"
THING = NARROW.model_copy(update={"shared_topic": ALL})
OTHER = THING.model_copy(update={"name": "other"})
CONTRACTS = Contracts([THING, OTHER])


@pytest.fixture
def shared(tmp_path: Path) -> Lake:
    """An empty lake of two tables that come in one topic."""
    return Lake(tmp_path, CONTRACTS)


def under(lake: Lake, *tables: Table) -> Lake:
    """The same lake under other contracts."""
    return Lake(lake.folder, Contracts(tables))


def of(table: str, offset: int, *, partition: int = 0, op: str = "c", **fields: Any) -> bytes:
    """The creation of a row of a table in the shared topic."""
    payload = envelope(offset, BRIEF | {"id": offset} | fields, op=op, table=table)
    return message(offset, payload, topic=ALL, partition=partition)


def tombstone(offset: int) -> bytes:
    return message(offset, None, topic=ALL)


MIXED = [
    of("thing", 0), of("other", 1), of("other", 2, count="x"), of("stranger", 3), tombstone(4),
    of("thing", 5), of("other", 6), b"garbage", b"no text \xff",
    message(8, envelope(8, None, op="t", table="thing"), topic=ALL),
    message(9, "no JSON", topic=ALL),
    of("thing", 0, partition=1),
]  # fmt: skip
STREAM_COUNTS = {"consumed": 12, "routed": 7, "tombstone": 1, "dead": 4}
THING_COUNTS = {"consumed": 4, "landed": 3, "truncate": 1}
OTHER_COUNTS = {"consumed": 3, "landed": 2, "dead": 1}


def assert_mixed_landed(lake: Lake) -> None:
    assert lake.places(THING.topic) == [(0, 0), (0, 5), (0, 8), (1, 0)]
    assert lake.places(OTHER.topic) == [(0, 1), (0, 6)]
    assert lake.counts(ALL) == STREAM_COUNTS
    assert lake.counts(THING.topic) == THING_COUNTS
    assert lake.counts(OTHER.topic) == OTHER_COUNTS
    assert Counter(x["reason_code"] for x in lake.letters()) == Counter(
        ["wrong_type", "unknown_table", "broken_json", "broken_json", "invalid_utf8"]
    )
    lake.assert_reconciled()


# Landing


def test_each_message_lands_in_its_table_and_the_rest_is_counted_under_the_topic(
    shared: Lake,
) -> None:
    report = shared.deliver(*MIXED, topic=ALL)
    assert_mixed_landed(shared)
    assert {row["_topic"] for row in shared.rows(OTHER.topic)} == {ALL}
    letters = {(x["topic"], x["reason"]) for x in shared.letters()}
    assert (OTHER.topic, "count: x is no integer") in letters
    assert (ALL, "no contract of this topic is for shop.public.stranger") in letters
    assert (report.landed, report.dead, report.replayed, report.batches) == (6, 5, 0, 1)
    assert report.topics[ALL].newest_source_ts == report.topics[THING.topic].newest_source_ts


def test_topic_and_tables_are_counted_in_one_commit(shared: Lake) -> None:
    shared.land(shared.write(MIXED, topic=ALL).parents[1])
    first = shared.table("_ledger").version()
    shared.deliver(of("thing", 10), of("other", 11), tombstone(12), topic=ALL, name="b.jsonl")
    # One of the batch, one of the file that was read to its end.
    assert shared.table("_ledger").version() == first + 2
    batches = [{r["_batch_id"] for r in shared.rows(t.topic)} for t in (THING, OTHER)]
    assert batches[0] == batches[1] <= shared.batches()


def test_messages_delivered_again_change_nothing(shared: Lake) -> None:
    shared.deliver(*MIXED, topic=ALL)
    os.utime(shared.inbox / ALL / "a.jsonl")
    assert shared.land().replayed == len(MIXED)
    report = shared.deliver(*MIXED[:-1], of("other", 1, partition=1), topic=ALL, name="b.jsonl")
    assert (report.landed, report.dead) == (1, 0)
    assert shared.places(OTHER.topic)[-1] == (1, 1)
    assert shared.counts(ALL)["consumed"] == STREAM_COUNTS["consumed"] + 1
    shared.assert_reconciled()


def test_messages_that_fill_a_gap_land_in_their_tables(shared: Lake) -> None:
    every = [of("thing" if n % 2 else "other", n) for n in range(9)] + [of("stranger", 9)]
    shared.deliver(*every[::4], of("stranger", 7), topic=ALL)
    report = shared.deliver(*every, *every[2:4], topic=ALL, name="b.jsonl")
    assert shared.offsets(OTHER.topic) == [0, 2, 4, 6, 8]
    # At offset 7 stands a dead letter since the first file.
    assert shared.offsets(THING.topic) == [1, 3, 5]
    assert shared.counts(ALL) == {"consumed": 10, "routed": 8, "dead": 2}
    assert report.replayed == 6
    shared.assert_reconciled()


@pytest.mark.parametrize("where", CRASHES)
@pytest.mark.parametrize("times", [1, 2])
def test_a_landing_cut_off_is_completed_by_the_next(shared: Lake, where: str, times: int) -> None:
    shared.write(MIXED, topic=ALL)
    for _ in range(times):
        crash(shared, where)
    shared.land()
    assert_mixed_landed(shared)
    os.utime(shared.inbox / ALL / "a.jsonl")
    assert shared.land().replayed == len(MIXED)
    assert_mixed_landed(shared)


@pytest.mark.parametrize("name", ["_commit_data", "add"])
def test_a_landing_cut_off_between_its_tables_is_completed_by_the_next(
    shared: Lake, name: str
) -> None:
    owner: type = _TopicLander if name == "_commit_data" else DeadLetters
    genuine, calls = getattr(owner, name), 0

    def second_fails(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return genuine(*args, **kwargs)

    shared.write(MIXED, topic=ALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, second_fails)
        with pytest.raises(KeyboardInterrupt):
            shared.land()
    # The half that is there is not counted, so nobody stages it.
    assert shared.ledger() == []
    assert shared.rows(THING.topic)
    shared.deliver(*MIXED, of("other", 20), topic=ALL)
    assert shared.places(OTHER.topic) == [(0, 1), (0, 6), (0, 20)]
    assert shared.counts(THING.topic) == THING_COUNTS
    assert shared.counts(ALL) == STREAM_COUNTS | {"consumed": 13, "routed": 8}
    shared.assert_reconciled()


@pytest.mark.parametrize("refused", ["_ledger", "merged"])
def test_a_landing_that_another_one_overtakes_doubles_nothing(
    shared: Lake, refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = (Ledger, "commit") if refused == "_ledger" else (_TopicLander, "_commit_data")
    genuine = getattr(owner, name)

    def overtaken(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(owner, name, genuine)
        shared.land()
        return genuine(*args, **kwargs)

    shared.write(MIXED, topic=ALL)
    monkeypatch.setattr(owner, name, overtaken)
    shared.land()
    assert_mixed_landed(shared)


def test_a_commit_that_is_always_refused_names_the_topic(
    shared: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise CommitFailedError("somebody else was first")

    monkeypatch.setattr(Ledger, "commit", refuse)
    with pytest.raises(LakehouseError, match="keeps committing to merged"):
        shared.deliver(of("thing", 0), topic=ALL)


def test_a_ledger_of_before_goes_on(shared: Lake) -> None:
    under(shared, NARROW).deliver(message(0, envelope(0, BRIEF)))
    rows = shared.table("_ledger").to_pyarrow_table().drop_columns(["routed"])
    shutil.rmtree(shared.raw / "_ledger")
    write_deltalake(str(shared.raw / "_ledger"), rows)
    (told,) = totals(shared.raw).to_pylist()
    assert (told["landed"], told["routed"]) == (1, 0)
    second = under(shared, NARROW, OTHER)
    second.deliver(of("other", 0), topic=ALL)
    assert {row["topic"]: row["routed"] for row in totals(shared.raw).to_pylist()} == {
        ALL: 1, OTHER.topic: 0, THING.topic: 0,
    }  # fmt: skip


def test_the_command_tells_what_was_routed(shared: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.chain.load_contracts", lambda _: CONTRACTS)
    monkeypatch.setenv("LAKEHOUSE_PII_KEY", KEY)
    shared.write([of("thing", 0), of("other", 1), tombstone(2)], topic=ALL)
    arguments = ["--home", str(shared.settings.home), "land", "--from", str(shared.inbox)]
    printed = CliRunner().invoke(cli.app, arguments)
    assert printed.exit_code == 0, printed.output
    lines = [line.replace("│", " ").split() for line in printed.stdout.splitlines()]
    assert [ALL, "0", "2", "0", "1", "0"] in lines
    assert [THING.topic, "1", "0", "0", "0", "0"] in lines
    monkeypatch.setenv("COLUMNS", "200")
    told = CliRunner().invoke(cli.app, ["--home", str(shared.settings.home), "status"]).stdout
    row = next(line for line in told.splitlines() if ALL in line)
    assert row.replace("│", " ").split()[:6] == [ALL, "3", "0", "2", "1", "0"]


# Which table


def flat(**told: str | None) -> bytes:
    """A flattened creation that tells of its source what is given."""
    position = {"__source_ts_us": 1_490_000_000_000_000, "__source_lsn": 5, "__op": "c"}
    return message(0, BRIEF | position | told, topic=ALL)


def plain(**source: Any) -> bytes:
    return message(0, envelope(0, BRIEF, **source), topic=ALL)


def wrapped(**source: Any) -> bytes:
    content = {"schema": {"type": "struct"}, "payload": envelope(0, BRIEF, **source)}
    return message(0, content, topic=ALL)


SAME_SCHEMA = THING.model_copy(update={"namespace": "crm"})
MARIADB = OTHER.model_copy(update={"namespace": "inventory", "connector": "mariadb"})
SQLSERVER = OTHER.model_copy(update={"namespace": "inventory.dbo", "connector": "sqlserver"})
NAMED: dict[str, tuple[bytes, str | None]] = {
    "by schema and table": (plain(), THING.topic),
    "another schema": (plain(schema="crm"), SAME_SCHEMA.topic),
    "a schema without contract": (plain(schema="hr"), None),
    "another server": (plain(name="shop2"), None),
    "wrapped with its schema": (wrapped(table="other"), OTHER.topic),
    "wrapped, of no table": (wrapped(table="stranger"), None),
    "a database without schemas": (
        plain(db="inventory", schema=None, table="other", file="b.1", pos=1, row=0), MARIADB.topic),
    "a schema of a database": (
        plain(db="inventory", schema="dbo", table="other", commit_lsn="0:1:1"), SQLSERVER.topic),
    "flattened": (flat(__source_schema="public", __source_table="other"), OTHER.topic),
    "flattened with short names": (flat(__schema="public", __table="thing"), THING.topic),
    "flattened and wrapped": (
        message(0, {"schema": {}, "payload": BRIEF | {
            "__source_ts_us": 1_490_000_000_000_000, "__source_lsn": 5, "__op": "c",
            "__schema": "public", "__table": "other"}}, topic=ALL), OTHER.topic),
    "a column called payload": (
        message(0, envelope(0, BRIEF) | {"payload": envelope(0, BRIEF, table="other")}, topic=ALL),
        THING.topic),
    "flattened, with the server": (
        flat(__schema="public", __table="thing", __name="shop2"), None),
    "flattened without a schema": (flat(__table="thing"), None),
    "flattened without a table": (flat(), None),
    "no event": (message(0, {"a": 1}, topic=ALL), None),
    "a number": (message(0, "7", topic=ALL), None),
}  # fmt: skip


@pytest.mark.parametrize("what", NAMED)
def test_a_message_tells_its_table(tmp_path: Path, what: str) -> None:
    line, topic = NAMED[what]
    lake = Lake(tmp_path, Contracts([THING, OTHER, SAME_SCHEMA, MARIADB, SQLSERVER]))
    lake.deliver(line, topic=ALL)
    counts = lake.counts(ALL)
    if topic is None:
        assert counts == {"consumed": 1, "dead": 1}
        assert lake.reasons() == ["unknown_table"]
    else:
        assert counts == {"consumed": 1, "routed": 1}
        assert lake.counts(topic) == {"consumed": 1, "landed": 1}
    lake.assert_reconciled()


def test_tables_of_two_servers_are_told_apart_by_the_server(tmp_path: Path) -> None:
    second = THING.model_copy(update={"server": "shop2"})
    lake = Lake(tmp_path, Contracts([THING, second]))
    lines = [of("thing", 0), message(1, envelope(1, BRIEF, name="shop2"), topic=ALL)]
    untold = flat(__schema="public", __table="thing").replace(b'"offset":0', b'"offset":2')
    lake.deliver(*lines, untold, topic=ALL)
    assert (lake.offsets(THING.topic), lake.offsets(second.topic)) == ([0], [1])
    assert lake.reasons() == ["unknown_table"]


def test_a_logical_message_is_counted_under_the_topic(shared: Lake) -> None:
    payload = {"op": "m", "source": {"name": "shop", "schema": "", "table": ""}, "message": {}}
    shared.deliver(message(0, payload, topic=ALL), topic=ALL)
    assert shared.counts(ALL) == {"consumed": 1, "message": 1}


def test_one_table_alone_may_name_a_topic(tmp_path: Path) -> None:
    lake = Lake(tmp_path, Contracts([THING]))
    lake.deliver(of("thing", 0), of("other", 1), topic=ALL)
    assert (lake.offsets(THING.topic), lake.reasons()) == ([0], ["unknown_table"])


# What is refused


def test_a_table_that_changes_its_topic_is_refused(shared: Lake) -> None:
    own = under(shared, NARROW)
    own.deliver(message(0, envelope(0, BRIEF)))
    shared.write([of("thing", 7)], topic=ALL, inbox=shared.folder / "second")
    for _ in range(2):
        with pytest.raises(LakehouseError, match=r"from the topic shop\.public\.thing before"):
            shared.land(shared.folder / "second")
    assert shared.offsets(THING.topic) == [0]


def test_messages_on_a_table_s_own_topic_are_refused_where_it_comes_in_a_shared_one(
    shared: Lake,
) -> None:
    with pytest.raises(LakehouseError, match="of this table come in merged"):
        shared.deliver(message(0, envelope(0, BRIEF)), topic=THING.topic)


def test_drift_of_one_table_stops_the_batch_of_all(shared: Lake) -> None:
    strict = under(shared, THING, OTHER.model_copy(update={"on_drift": "stop"}))
    with pytest.raises(LakehouseError, match=r"rows of shop\.public\.other have other fields"):
        strict.deliver(of("thing", 0), of("other", 1, surprise=1), topic=ALL)
    assert strict.ledger() == []
    shared.land()
    assert (shared.offsets(THING.topic), shared.offsets(OTHER.topic)) == ([0], [1])
    shared.assert_reconciled()


# Dead letters


@pytest.fixture
def repairable(shared: Lake) -> Lake:
    """What was of no table when it came, under contracts that have the table by now."""
    before = under(shared, THING)
    before.deliver(
        of("thing", 0), *(of("other", n) for n in (1, 2)), of("other", 3, count="x"),
        of("stranger", 4), of("other", 5), tombstone(6), of("other", 0, partition=1), topic=ALL,
    )  # fmt: skip
    assert before.counts(ALL) == {"consumed": 8, "routed": 1, "tombstone": 1, "dead": 6}
    return shared


REPLAYED_PLACES = [(0, 1), (0, 2), (0, 5), (1, 0)]


def assert_replayed(lake: Lake) -> None:
    assert lake.places(OTHER.topic) == REPLAYED_PLACES
    assert lake.counts(ALL) == {"consumed": 8, "routed": 5, "tombstone": 1, "dead": 2}
    assert lake.counts(OTHER.topic) == {"consumed": 4, "landed": 4}
    lake.assert_reconciled()


def test_letters_land_in_their_table_once_it_has_a_contract(repairable: Lake) -> None:
    report = repairable.replay()
    assert report.counts == {"landed": 4}
    assert sorted(report.still_dead.values()) == [
        "count: x is no integer",
        "no contract of this topic is for shop.public.stranger",
    ]
    assert_replayed(repairable)
    named = {(row["batch_id"], row["table_name"]) for row in repairable.ledger()}
    batches = {(row["_batch_id"], OTHER.topic) for row in repairable.rows(OTHER.topic)}
    assert batches <= named
    assert repairable.replay().counts == {}


@pytest.mark.parametrize("is_replayed", [False, True])
def test_messages_of_letters_are_passed_over_when_they_come_again(
    repairable: Lake, is_replayed: bool
) -> None:
    if is_replayed:
        repairable.replay()
    again = [of("other", n) for n in (1, 2, 3, 5)] + [of("other", 0, partition=1)]
    report = repairable.deliver(*again, of("other", 7), topic=ALL, name="b.jsonl")
    assert (report.landed, report.dead, report.replayed) == (1, 0, 5)
    if not is_replayed:
        repairable.replay()
    assert repairable.places(OTHER.topic) == [*REPLAYED_PLACES[:3], (0, 7), (1, 0)]
    repairable.assert_reconciled()


@pytest.mark.parametrize("where", REPLAY_CRASHES)
@pytest.mark.parametrize("comes_again", [False, True])
def test_a_replay_cut_off_is_completed_by_the_next(
    repairable: Lake, where: str, comes_again: bool
) -> None:
    for _ in range(2):
        cut_off(repairable, where)
    if comes_again:
        os.utime(repairable.inbox / ALL / "a.jsonl")
        repairable.deliver(*(of("other", n) for n in (1, 2, 5)), topic=ALL, name="b.jsonl")
    repairable.replay()
    assert_replayed(repairable)


def test_a_letter_whose_replay_was_cut_off_cannot_be_dropped(repairable: Lake) -> None:
    cut_off(repairable, "between rows and marks")
    with pytest.raises(LakehouseError, match="was cut off"):
        repairable.drop()
    repairable.replay()
    assert repairable.drop() == 2
    assert_replayed(repairable)


def test_letters_of_a_topic_without_contract_land_once_tables_name_it(shared: Lake) -> None:
    nobody = under(shared)
    nobody.deliver(of("thing", 0), of("other", 1), tombstone(2), topic=ALL)
    assert nobody.counts(ALL) == {"consumed": 3, "dead": 3}
    assert shared.replay().counts == {"landed": 2, "tombstone": 1}
    assert shared.counts(ALL) == {"consumed": 3, "routed": 2, "tombstone": 1}
    shared.assert_reconciled()


def test_a_letter_of_a_table_is_repaired_under_the_table(shared: Lake) -> None:
    shared.deliver(of("thing", 0), of("other", 1, count="x"), topic=ALL)
    assert shared.replay(of("other", 1, count=1)).counts == {"landed": 1}
    assert shared.counts(OTHER.topic) == {"consumed": 1, "landed": 1}
    shared.assert_reconciled()


def test_a_line_that_told_no_place_lands_repaired_in_its_table(shared: Lake) -> None:
    shared.deliver(of("thing", 0), b"garbage", topic=ALL)
    with pytest.raises(UsageError, match="consumed already"):
        shared.replay(of("other", 0))
    assert shared.replay(of("other", 1)).counts == {"landed": 1}
    assert shared.counts(ALL) == {"consumed": 2, "routed": 2}
    assert shared.deliver(of("other", 1), of("other", 2), topic=ALL, name="b.jsonl").landed == 1
    assert shared.offsets(OTHER.topic) == [1, 2]
    shared.assert_reconciled()


# From Kafka


def without_run(rows: list[Row]) -> list[Row]:
    return [{k: v for k, v in row.items() if k not in ("_batch_id", "_landed_at")} for row in rows]


def test_a_shared_topic_lands_from_kafka_as_from_files(tmp_path: Path) -> None:
    lines = [of("thing", 0), of("other", 1), of("other", 2, count="x"), of("stranger", 3),
             tombstone(4), *(of("thing", n, partition=1) for n in range(3))]  # fmt: skip
    by_file, by_kafka = (Lake(tmp_path / name, CONTRACTS) for name in ("file", "kafka"))
    by_file.deliver(*lines, topic=ALL)
    broker = Broker()
    # The contract says where its messages come; the topic of that name is of another time.
    broker.send(*lines, message(0, envelope(0, BRIEF), topic=THING.topic))
    land_from(broker, by_kafka)
    for topic in (THING.topic, OTHER.topic):
        assert without_run(by_kafka.rows(topic)) == without_run(by_file.rows(topic))
    for topic in (ALL, THING.topic, OTHER.topic):
        assert by_kafka.counts(topic) == by_file.counts(topic) != {}
    told = [[(x["letter_id"], x["reason"]) for x in lake.letters()] for lake in (by_file, by_kafka)]
    assert sorted(told[0]) == sorted(told[1])
    assert json.loads(by_kafka.letters()[-1]["line"])["topic"] == ALL
    by_kafka.assert_reconciled()

    broker.send(of("other", 5), of("thing", 3, partition=1))
    report = land_from(broker, by_kafka)
    assert (report.landed, report.replayed) == (2, 0)
    by_kafka.assert_reconciled()


def test_a_table_that_changes_its_topic_in_kafka_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The mock cluster tells no ids.
    monkeypatch.setattr(
        Cluster, "topic_ids", lambda self, topics: {name: f"id of {name}" for name in topics}
    )
    broker, own = Broker(), Lake(tmp_path, Contracts([NARROW]))
    broker.send(message(0, envelope(0, BRIEF)))
    land_from(broker, own)
    broker.send(of("thing", 0))
    with pytest.raises(LakehouseError, match="is not the one that was landed before"):
        land_from(broker, under(own, THING))
    assert own.counts(ALL) == {}


def test_metrics_tell_what_became_of_the_messages_of_each_table(shared: Lake) -> None:
    broker = Broker()
    broker.send(of("thing", 0), of("other", 1, count="x"), of("stranger", 2))
    with Follower(broker, shared, batch_seconds=0.1) as follower:
        follower.wait_for(lambda: follower.value("consumed_total", topic=ALL) == 3)
        follower.wait_for(lambda: follower.value("lag_messages", topic=ALL) == 0)
    told = {
        (topic, disposition): follower.value("messages_total", topic=topic, disposition=disposition)
        for topic, disposition in (
            (ALL, "routed"), (ALL, "dead"), (THING.topic, "landed"), (OTHER.topic, "dead"))
    }  # fmt: skip
    assert told == {
        (ALL, "routed"): 2, (ALL, "dead"): 1, (THING.topic, "landed"): 1, (OTHER.topic, "dead"): 1,
    }  # fmt: skip
    shared.assert_reconciled()
