"""A case: its events as capture files and as the reference sees them, and what to expect.

A case has one table. Where that names a `topic`, its events come there, and an event of another
table is one whose `source` names it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import yaml

from tests.conformance.reference import Change, Key, Reference

CASES = Path(__file__).parent / "cases"
CHOSEN = os.environ.get("LAKEHOUSE_CONFORMANCE_CASES")
SERVER, NAMESPACE = "conf", "public"
START_US = 1_490_000_000_000_000
MARKER = "__debezium_unavailable_value"
RANK = {"r": 0, "d": 1}

Event = dict[str, Any]


@dataclass(frozen=True)
class Message:
    """One message of a case, at its place in the topic."""

    event: Event
    partition: int
    offset: int


@dataclass(frozen=True)
class Scenario:
    """A case folder: `case.yml` has the contract's table, the events, and the expectations."""

    name: str
    content: dict[str, Any]

    @property
    def table(self) -> str:
        return "c" + self.name.replace("-", "_")

    @property
    def topic(self) -> str:
        return f"{SERVER}.{NAMESPACE}.{self.table}"

    @property
    def stream_topic(self) -> str:
        """Where the table's events come."""
        return str(self.content.get("table", {}).get("topic", self.topic))

    @property
    def events(self) -> list[Event]:
        return list(self.content["events"])

    @property
    def refused(self) -> str | None:
        """What the error says with which the last batch is refused; None where all batches land."""
        return self.content.get("refused")

    @property
    def expected(self) -> dict[str, Any]:
        return dict(self.content["expected"])

    @cached_property
    def columns(self) -> dict[str, dict[str, Any]]:
        """Column → `type`, and what else the contract says of it."""
        table = self.content.get("table", {})
        told = table.get("columns", {"id": "bigint", "v": "integer"})
        return {n: c if isinstance(c, dict) else {"type": c} for n, c in told.items()}

    @property
    def key(self) -> list[str]:
        return list(self.content.get("table", {}).get("key", ["id"]))

    @property
    def connector(self) -> str:
        return str(self.content.get("table", {}).get("connector", "postgres"))

    @property
    def kept(self) -> list[str]:
        """Columns that keep their last value where the source does not send one."""
        return [n for n, c in self.columns.items() if c.get("toast") or c.get("dropped")]

    @property
    def has_versions(self) -> bool:
        return len(self.key) == 1

    @property
    def deliveries(self) -> list[str]:
        """The deliveries in which the case makes sense; all, unless its README says why not."""
        return list(self.content.get("deliveries", ["told", "each", "twice", "shuffled"]))

    @property
    def topics(self) -> set[str]:
        named = {event["topic"] for event in self.events if "topic" in event}
        return {self.topic, self.stream_topic} | named

    @property
    def own_messages(self) -> list[Event]:
        return [event for event in self.events if "topic" not in event]

    def __hash__(self) -> int:
        return hash(self.name)

    def contract(self) -> dict[str, Any]:
        """The table's entry in the source YAML."""
        table = self.content.get("table", {})
        meta = {n: v for n, v in table.items() if n not in ("columns", "key")}
        columns = [
            {
                "name": name,
                "data_type": column["type"],
                "config": {"meta": {n: v for n, v in column.items() if n != "type"}},
            }
            for name, column in self.columns.items()
        ]
        return {
            "name": self.table,
            "config": {"meta": meta | {"key": self.key}},
            "columns": columns,
        }

    def messages(self) -> list[Message]:
        """The events in the order in which they are delivered."""
        offsets: dict[int, int] = {}
        messages = []
        for event in self.events:
            partition = event.get("partition", 0)
            offset = event.get("offset", offsets.get(partition, 0))
            offsets[partition] = offset + 1
            messages.append(Message(event, partition, offset))
        return messages

    def batches(self, delivery: str) -> list[list[Message]]:
        """The messages cut into batches; each lands and stages before the next."""
        messages = self.messages()
        whole = [m for batch in self._told_batches(messages) for m in batch]
        if delivery == "told":
            return self._told_batches(messages)
        if delivery == "each":
            return [[message] for message in messages]
        if delivery == "twice":
            again = [replace(m, offset=m.offset + 1000) for m in whole]
            return [whole, whole, again]
        # A permutation needs a partition for each message: within one, Kafka keeps the order.
        apart = [replace(m, partition=n, offset=0) for n, m in enumerate(messages)]
        Random(self.name).shuffle(apart)
        return [batch for batch in (apart[::3], apart[1::3], apart[2::3]) if batch]

    def _told_batches(self, messages: list[Message]) -> list[list[Message]]:
        numbers = [m.event.get("batch", 1) for m in messages]
        return [
            [m for m, n in zip(messages, numbers, strict=True) if n == number]
            for number in sorted(set(numbers))
        ]

    # As lines of a capture file

    def line(self, message: Message) -> bytes:
        """The message as `kcat -C -J` prints it."""
        event = message.event
        if "line" in event:
            text = str(event["line"])
            for name, value in (("topic", self.stream_topic), ("offset", message.offset)):
                text = text.replace("{" + name + "}", str(value))
            return text.encode("utf-8", "surrogateescape")
        payload = None if event.get("tombstone") else self._payload(event)
        key = event.get("key", self._key_of(event))
        line = {
            "topic": event.get("topic", self.stream_topic),
            "partition": message.partition,
            "offset": message.offset,
            "tstype": "create",
            "ts": START_US // 1000,
            "headers": event.get("headers", self._headers(event)),
            "key": None if key is None else json.dumps(key),
            "payload": payload if payload is None else json.dumps(payload),
        }
        return json.dumps(line).encode()

    def _key_of(self, event: Event) -> Event | None:
        row = event.get("after") or event.get("before") or {}
        if not self.key or event.get("op") == "t":
            return None
        return {name: row.get(name) for name in self.key}

    def _headers(self, event: Event) -> list[str]:
        former = event.get("former_key")
        return ["__debezium.oldkey", json.dumps(former)] if former else []

    def _payload(self, event: Event) -> Any:
        if "payload" in event:
            return event["payload"]
        source = {"connector": self.connector, "name": SERVER, "db": SERVER}
        source |= {"schema": NAMESPACE, "table": self.table}
        source |= self._source(event)
        row = {
            "before": event.get("before"),
            "after": event.get("after"),
            "source": source | event.get("source", {}),
            "op": event["op"],
        }
        row |= {"transaction": event["transaction"]} if "transaction" in event else {}
        envelope = event.get("envelope", "plain")
        if envelope == "schema":
            return {"schema": {"type": "struct", "fields": []}, "payload": row}
        if envelope == "flat":
            names = ("ts_us", "lsn", "sequence", "schema", "table")
            added = {f"__source_{n}": row["source"].get(n) for n in names}
            return (row["after"] or row["before"]) | added | {"__op": row["op"]}
        return row

    def _source(self, event: Event) -> Event:
        at = event["at"]
        time = {"ts_us": self.time_us(event), "snapshot": str(event.get("snapshot", "false"))}
        if self.connector == "sqlserver":
            commit, change, serial = at
            return time | {"commit_lsn": commit, "change_lsn": change, "event_serial_no": serial}
        if self.connector == "mariadb":
            return time | dict(zip(("file", "pos", "row"), at, strict=True))
        return time | {"lsn": at, "sequence": json.dumps([str(at), str(at)])}

    def time_us(self, event: Event) -> int:
        """The source's time: told by `ts` in seconds, else it follows the position."""
        at = event["at"]
        default = at if isinstance(at, int) else len(str(at))
        return START_US + int(event.get("ts", default)) * 1_000_000

    # As the reference sees them

    def changes(self, batch: Iterable[Message]) -> list[Change]:
        """What of a batch reaches staging: events that are no dead letters, by their own word."""
        found = []
        for message in batch:
            event = message.event
            kind = event.get("becomes", "tombstone" if event.get("tombstone") else "landed")
            if kind != "landed":
                continue
            found.append(self._change(event, message))
        return found

    def _change(self, event: Event, message: Message) -> Change:
        row = event["before"] if event["op"] == "d" and event.get("before") else event.get("after")
        row = row or event.get("key") or {}
        key: Key | None = None
        if event["op"] != "t" and self.key:
            told = [row.get(n) for n in self.key]
            key = tuple(self._typed(n, v) for n, v in zip(self.key, told, strict=True))
        forms = (MARKER, event.get("marker", MARKER))
        gone = frozenset(n for n in self.kept if n not in row or row[n] in forms)
        former = event.get("former_key")
        place = None
        if not self.key:
            place = (event.get("transaction") or {}).get("total_order")
            place = (message.partition, message.offset) if place is None else place
        values = event.get("lands", row)
        return Change(
            op=event["op"],
            key=key,
            order=(event.get("epoch", 0), *self._position(event), RANK.get(event["op"], 2)),
            at=self.time_us(event),
            offset=message.offset,
            values={n: None if n in gone else values.get(n) for n in self.columns},
            place=place,
            unavailable=gone,
            former_key=tuple(former[n] for n in self.key) if former else None,
            ends_snapshot=event["op"] == "r"
            and event.get("snapshot") in ("last", "last_in_data_collection")
            and event.get("epoch", 0) > 0,
        )

    def _typed(self, name: str, value: Any) -> Any:
        return int(value) if self.columns[name]["type"] in ("bigint", "integer") else value

    def _position(self, event: Event) -> tuple[Any, ...]:
        at = event["at"]
        if self.connector == "sqlserver":
            return (str(at[0]).lower(), str(at[1] or "").lower(), int(at[2] or 0))
        if self.connector == "mariadb":
            return (int(str(at[0]).rsplit(".", 1)[1]), int(at[1]), int(at[2] or 0))
        if event.get("source", {}).get("sequence", "") is None:
            return (0, event.get("snapshot") is None, 0)
        return (at, event.get("snapshot", "false") == "false", at)

    def reference(self, delivery: str) -> Reference:
        """The reference after all batches of a delivery."""
        reference = Reference()
        for number, batch in enumerate(self.batches(delivery)):
            if delivery == "twice" and number == 1:
                continue  # The same places again: the landing passes over them.
            reference.stage(self.changes(batch))
        return reference


def folders() -> dict[str, dict[str, Any]]:
    """Content of all cases by name; or only of those that LAKEHOUSE_CONFORMANCE_CASES names."""
    names = CHOSEN.split(",") if CHOSEN else [path.name for path in CASES.iterdir()]
    return {name: yaml.safe_load((CASES / name / "case.yml").read_text()) for name in sorted(names)}
