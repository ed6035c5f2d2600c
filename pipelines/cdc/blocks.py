"""Blocks: messages of one topic that are decoded and committed together.

A block gives parts of itself to the tables of a shared topic, so that each decodes its own messages
under its contract.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.cdc.decode import Decoder


class Messages(Protocol):
    """Messages of one topic whose envelope is already taken apart."""

    def __len__(self) -> int: ...

    def table(self) -> pa.Table:
        """Columns `partition`, `offset`, `key`, `payload` and `former_key`."""

    def line_of(self, partition: int, offset: int) -> str:
        """One of them as a line of a capture file."""


class Block(Protocol):
    """A block, from whatever source.

    Attributes:
        not_utf8: line number and bytes of the lines that are no text.
    """

    @property
    def not_utf8(self) -> Sequence[tuple[int, bytes]]: ...

    def __len__(self) -> int: ...

    def decode(self, decoder: Decoder) -> None:
        """Let a decoder replace `decoded` by the rows of this block."""

    def part(self, rows: pa.Table) -> Block:
        """Those of its messages that stand in these rows of `decoded`, in their order."""


@dataclass(frozen=True)
class LineBlock:
    """Lines of a capture file, with their numbers in it."""

    text: pa.Array
    numbers: pa.Array
    not_utf8: Sequence[tuple[int, bytes]] = ()

    def __len__(self) -> int:
        return len(self.text) + len(self.not_utf8)

    def decode(self, decoder: Decoder) -> None:
        """Let a decoder replace `decoded` by the rows of this block."""
        decoder.decode(self.text, self.numbers)

    def part(self, rows: pa.Table) -> LineBlock:
        """The lines with the `line_number` of these rows."""
        chosen = pc.is_in(self.numbers, rows["line_number"])
        return LineBlock(self.text.filter(chosen), self.numbers.filter(chosen))


@dataclass(frozen=True)
class MessageBlock:
    """Messages of a stream, as columns, and how to write one of them as a line."""

    messages: pa.Table
    line_of: Callable[[int, int], str]
    not_utf8: Sequence[tuple[int, bytes]] = ()

    def __len__(self) -> int:
        return len(self.messages)

    def decode(self, decoder: Decoder) -> None:
        """Let a decoder replace `decoded` by the rows of this block."""
        decoder.decode_messages(self.messages, self.line_of)

    def part(self, rows: pa.Table) -> MessageBlock:
        """The messages with `partition_no` and `offset_no` of these rows."""
        chosen = pa.nulls(len(self.messages), pa.bool_()).fill_null(False)
        for partition in pc.unique(rows["partition_no"]):
            offsets = rows.filter(pc.equal(rows["partition_no"], partition))["offset_no"]
            own = pc.equal(self.messages["partition"], partition)
            chosen = pc.or_(chosen, pc.and_(own, pc.is_in(self.messages["offset"], offsets)))
        return MessageBlock(self.messages.filter(chosen), self.line_of)
