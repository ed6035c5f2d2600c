"""What a table of a source must look like: its changes, replayed one by one in the source's order.

Plain Python on purpose, without a line of the product: the platform is held against it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

Key = tuple[Any, ...]
Values = dict[str, Any]
# epoch, position, rank (a snapshot read before a delete before the rest), partition's offset
Order = tuple[Any, ...]


@dataclass(frozen=True)
class Change:
    """One delivered change event of one table.

    Attributes:
        key: None for a truncate.
        order: epoch, position, rank; the same for each delivery of the change.
        at: time of the source.
        place: where the message lies, for tables without a key.
        unavailable: columns whose value the source did not send.
        former_key: of a create that is the second half of a change of key.
        ends_snapshot: the last read of a snapshot of this table.
    """

    op: str
    key: Key | None
    order: Order
    at: Any
    offset: int
    values: Values = field(default_factory=dict)
    place: Any = None
    unavailable: frozenset[str] = frozenset()
    former_key: Key | None = None
    ends_snapshot: bool = False

    @property
    def identity(self) -> tuple[Any, ...]:
        """Equal for all deliveries of one change."""
        return (self.key, self.order, self.op, self.place)


@dataclass(frozen=True)
class Version:
    """A row of a slowly changing dimension."""

    key: Key
    values: tuple[tuple[str, Any], ...]
    valid_from: Any
    valid_to: Any


class Reference:
    """Takes batches of changes in any order; tells what history, current state and versions are."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], Change] = {}
        self.counters: Counter[str] = Counter(applied=0, duplicate=0, stale=0)

    def stage(self, batch: Iterable[Change]) -> None:
        """Take in one batch; a change is stale if its key was further before this batch."""
        reached: dict[Key | None, Order] = {}
        for change in self._kept.values():
            reached[change.key] = max(change.order, reached.get(change.key, change.order))
            if change.ends_snapshot and change.order[0] > 0:
                # All that came before this epoch is over.
                start = (change.order[0],)
                reached[None] = max(start, reached.get(None, start))
        for change in sorted(batch, key=lambda c: (c.order, c.offset)):
            former = self._kept.get(change.identity)
            if former is not None:
                self.counters["duplicate"] += 1
                if former.offset <= change.offset:
                    continue
            else:
                marks = [reached[key] for key in (change.key, None) if key in reached]
                is_stale = any(mark > change.order for mark in marks)
                self.counters["stale" if is_stale else "applied"] += 1
            self._kept[change.identity] = change

    def history(self) -> list[Change]:
        """Each distinct change once, in the source's order."""
        return sorted(self._kept.values(), key=lambda change: (change.order, change.offset))

    def _moves(self) -> Iterator[tuple[Change, Key, bool]]:
        """Each change with each key that it concerns, and whether the row lives after it."""
        history = self.history()
        keys = {change.key for change in history if change.key is not None}
        ends: dict[int, Change] = {}
        for change in history:
            if change.ends_snapshot:
                ends[change.order[0]] = max(
                    change, ends.get(change.order[0], change), key=lambda c: c.at
                )
        epoch = 0
        for change in history:
            if change.order[0] > epoch:
                epoch = change.order[0]
                brought = {c.key for c in history if c.order[0] == epoch}
                for key in keys - brought if epoch in ends else ():
                    yield ends[epoch], key, False
            if change.op == "t":
                for key in keys:
                    yield change, key, False
            elif change.key is not None:
                yield change, change.key, change.op != "d"

    def _replay(self) -> Iterator[tuple[Change, Key, Values | None]]:
        """Each step of each row: the change, the key, and the row after it (None: gone)."""
        known: dict[Key, Values] = {}
        for change, key, lives in self._moves():
            if not lives:
                yield change, key, None
                continue
            if change.former_key is not None:
                known[key] = dict(known.get(change.former_key, {}))
            own = known.setdefault(key, {})
            own |= {n: v for n, v in change.values.items() if n not in change.unavailable}
            yield change, key, change.values | {n: own.get(n) for n in change.unavailable}

    def current(self) -> dict[Key, Values]:
        """The living rows."""
        rows: dict[Key, Values] = {}
        for _, key, row in self._replay():
            rows.pop(key, None)
            if row is not None:
                rows[key] = row
        return rows

    def versions(self, tracked: list[str]) -> list[Version]:
        """What each key was, from when to when: no gap, no overlap, no version without a change."""
        steps: dict[Key, list[tuple[Any, Values | None]]] = {}
        for change, key, row in self._replay():
            at = change.at
            own = steps.setdefault(key, [])
            if own:
                # Clocks may run backwards against the order of the log; versions may not.
                at = max(at, own[-1][0])
                if own[-1][0] == at:
                    own.pop()
            own.append((at, row))
        found: list[Version] = []
        for key, own in sorted(steps.items(), key=lambda item: str(item[0])):
            opened: tuple[Any, tuple[tuple[str, Any], ...]] | None = None
            for at, row in own:
                values = None if row is None else tuple((n, row.get(n)) for n in tracked)
                if opened and values != opened[1]:
                    found.append(Version(key, opened[1], opened[0], at))
                    opened = None
                if values is not None and opened is None:
                    opened = (at, values)
            if opened:
                found.append(Version(key, opened[1], opened[0], None))
        return found
