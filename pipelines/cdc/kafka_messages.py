"""Messages of Kafka: gathered to batches, and handed to the landing as columns."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from typing import Any, Protocol

import pyarrow as pa

from pipelines.cdc.decode import FORMER_KEY_HEADER
from pipelines.cdc.kafka_cluster import Place

_TIMESTAMP_TYPES = {1: "create", 2: "logappend"}


class Message(Protocol):
    """What is used of `confluent_kafka.Message`; one that was read has all coordinates."""

    def topic(self) -> str: ...
    def partition(self) -> int: ...
    def offset(self) -> int: ...
    def key(self) -> bytes | None: ...
    def value(self) -> bytes | None: ...
    def timestamp(self) -> tuple[int, int]: ...
    def headers(self) -> Sequence[tuple[str, bytes | None]] | None: ...
    def error(self) -> Any: ...
    def __len__(self) -> int: ...


class Batch:
    """Messages that were read but have not landed.

    Attributes:
        places: the partitions that they are of.
        reached: per partition, where reading stands once this batch has landed, as the broker told;
            behind the last message, markers of transactions may follow.
    """

    def __init__(self) -> None:
        self.messages: dict[str, list[Message]] = {}
        self.places: set[Place] = set()
        self.reached: dict[Place, int] = {}
        self.rows = self.bytes = 0
        self.began: float | None = None

    def add(self, messages: list[Message]) -> None:
        """Take in messages, each partition's in their order."""
        for message in messages:
            self.messages.setdefault(message.topic(), []).append(message)
        self.rows += len(messages)
        # The length of a message is that of its value.
        self.bytes += sum(map(len, messages))
        self.places.update(map(place_of, messages))
        if self.rows and self.began is None:
            self.began = time.monotonic()

    def drop(self, places: set[Place]) -> int:
        """Forget what was read of partitions; returns how many messages that were."""
        former, kept = self.rows, Batch()
        for messages in self.messages.values():
            kept.add([message for message in messages if place_of(message) not in places])
        kept.began = self.began if kept.rows else None
        kept.reached = {p: offset for p, offset in self.reached.items() if p not in places}
        self.__dict__.update(kept.__dict__)
        return former - self.rows


class Block:
    """Messages of one topic, as the landing takes them."""

    def __init__(self, messages: list[Message]) -> None:
        self._messages = messages
        self._by_place: dict[tuple[int, int], Message] = {}

    def __len__(self) -> int:
        return len(self._messages)

    def table(self) -> pa.Table:
        """Columns `partition`, `offset`, `key`, `payload` and `former_key`."""
        messages = self._messages
        return pa.table(
            {
                "partition": pa.array([m.partition() for m in messages], pa.int32()),
                "offset": pa.array([m.offset() for m in messages], pa.int64()),
                "key": pa.array([m.key() for m in messages], pa.large_binary()),
                "payload": pa.array([m.value() for m in messages], pa.large_binary()),
                "former_key": pa.array([_former_key(m) for m in messages], pa.string()),
            }
        )

    def line_of(self, partition: int, offset: int) -> str:
        """One of them as a line of a capture file."""
        if not self._by_place:
            self._by_place = {_offset_of(message): message for message in self._messages}
        return line(self._by_place[partition, offset])

    def ends(self) -> dict[int, int]:
        """Per partition, the offset after its last message."""
        return {partition: offset + 1 for partition, offset in map(_offset_of, self._messages)}


def _former_key(message: Message) -> str | None:
    for name, value in message.headers() or ():
        if name == FORMER_KEY_HEADER and value is not None:
            return value.decode(errors="replace")
    return None


def _offset_of(message: Message) -> tuple[int, int]:
    return message.partition(), message.offset()


def line(message: Message) -> str:
    """A message as a line of a capture file; what is no text stands there as base64."""
    kind, milliseconds = message.timestamp()
    headers = [_texts([value]) for _, value in message.headers() or ()]
    names = [name for name, _ in message.headers() or ()]
    (key,), key_is_packed = _texts([message.key()])
    (payload,), payload_is_packed = _texts([message.value()])
    # Which of the headers, counted from 0: names and other values stay text.
    binary = [place for place, (_, is_packed) in enumerate(headers) if is_packed]
    packed = {
        "encoding": payload_is_packed,
        "key_encoding": key_is_packed,
    }
    content = {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "tstype": _TIMESTAMP_TYPES.get(kind, "unknown"),
        "ts": milliseconds,
        "headers": [
            part for name, (texts, _) in zip(names, headers, strict=True) for part in (name, *texts)
        ],
        "key": key,
        "payload": payload,
        **{name: "base64" for name, is_packed in packed.items() if is_packed},
        **({"headers_in_base64": binary} if binary else {}),
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _texts(values: list[Any]) -> tuple[list[str | None], bool]:
    """The values as text, or all of them as base64 if one is no UTF-8, and whether they are."""
    try:
        return [v.decode() if isinstance(v, bytes) else v for v in values], False
    except UnicodeDecodeError:
        raw = [v.encode() if isinstance(v, str) else v for v in values]
        return [None if v is None else base64.b64encode(v).decode() for v in raw], True


def place_of(message: Message) -> Place:
    """Its topic and partition."""
    return message.topic(), message.partition()
