"""A simulated source, delivered anyhow: staging ends in the source's rows and the reference's.

The machine changes a table as a database would, delivers its log in any order, cut and repeated
anyhow, and crashes runs between and within their commits.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from statistics import median_high
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.conformance.compiled import MODELS, Compiled, Warehouse
from tests.conformance.reference import Change, Key, Reference, Values
from tests.conformance.scenario import START_US, Scenario

EXAMPLES = int(os.environ.get("LAKEHOUSE_CONVERGENCE_EXAMPLES", "500"))
CONTENT: dict[str, Any] = {
    "table": {
        "columns": {"id": "bigint", "v": "integer", "big": {"type": "varchar", "toast": True}}
    },
    # Two builds are all that is taken from it: a first one, and an increment.
    "events": [
        {"op": "c", "at": 10, "epoch": 1, "after": {"id": 1, "v": 1, "big": "X"}, "batch": 1},
        {"op": "u", "at": 20, "epoch": 1, "after": {"id": 1, "v": 2, "big": "Y"}, "batch": 2},
    ],
}
TRACKED = ["v", "big"]
ids = st.integers(1, 4)
numbers = st.one_of(st.none(), st.integers(0, 2))
texts = st.one_of(st.none(), st.sampled_from("XYZ"))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    return Compiled(tmp_path_factory.mktemp("compiled"), Scenario("machine", CONTENT))


class Source:
    """A table of a database with its log."""

    def __init__(self) -> None:
        self.rows: dict[int, Values] = {}
        self.log: list[Change] = []
        self.epoch = self.position = self.clock = 0

    def append(self, op: str, key: int | None, values: Values | None = None, **more: Any) -> None:
        order = (self.epoch, self.position, 0 if op == "r" else 1, self.position)
        self.log.append(
            Change(
                op=op,
                key=None if key is None else (key,),
                order=(*order, {"r": 0, "d": 1}.get(op, 2)),
                at=START_US + self.clock * 1_000_000,
                offset=len(self.log),
                values=dict(values or {}),
                **more,
            )
        )

    def advance(self, seconds: int) -> None:
        """The next commit; its clock may run backwards."""
        self.position += 1
        self.clock = max(0, self.clock + seconds)


class Convergence(RuleBasedStateMachine):
    """Each rule is something that happens to the source, on the way, or to the platform."""

    compiled: Compiled
    retired = 0

    def __init__(self) -> None:
        super().__init__()
        self.source = Source()
        self.reference = Reference()
        self.warehouse = Warehouse(self.compiled)
        self.delivered: set[int] = set()
        self.offset = 0

    # What happens to the source

    @rule(key=ids, v=numbers, big=texts, leaves_out=st.booleans(), seconds=st.integers(-2, 3))
    def write(
        self, key: int, v: int | None, big: str | None, leaves_out: bool, seconds: int
    ) -> None:
        source = self.source
        source.advance(seconds)
        former = source.rows.get(key)
        row: Values = {"v": v, "big": big}
        gone: frozenset[str] = frozenset()
        if former is not None and leaves_out:
            row["big"] = former["big"]
            gone = frozenset({"big"})
        source.rows[key] = row
        told = row | dict.fromkeys(gone)
        source.append("c" if former is None else "u", key, told, unavailable=gone)

    @precondition(lambda self: self.source.rows)
    @rule(data=st.data(), seconds=st.integers(-2, 3))
    def delete(self, data: st.DataObject, seconds: int) -> None:
        key = data.draw(st.sampled_from(sorted(self.source.rows)))
        self.source.advance(seconds)
        del self.source.rows[key]
        self.source.append("d", key)

    @precondition(lambda self: self.source.rows and len(self.source.rows) < 4)
    @rule(data=st.data(), leaves_out=st.booleans())
    def change_key(self, data: st.DataObject, leaves_out: bool) -> None:
        source = self.source
        old = data.draw(st.sampled_from(sorted(source.rows)))
        new = data.draw(st.sampled_from([key for key in range(1, 5) if key not in source.rows]))
        source.advance(1)
        row = source.rows[new] = source.rows.pop(old)
        gone = frozenset({"big"}) if leaves_out else frozenset()
        source.append("d", old)
        told = row | dict.fromkeys(gone)
        source.append("c", new, told, unavailable=gone, former_key=(old,))

    @rule()
    def truncate(self) -> None:
        self.source.advance(1)
        self.source.rows.clear()
        self.source.append("t", None)

    @precondition(lambda self: self.source.rows and self.source.epoch < 2)
    @rule(lost=st.booleans())
    def snapshot_anew(self, lost: bool) -> None:
        source = self.source
        source.advance(1)
        if lost and len(source.rows) > 1:
            # Deleted while nobody was looking: the snapshot alone tells it.
            del source.rows[min(source.rows)]
        source.epoch += 1
        source.position = 0
        for key in sorted(source.rows):
            is_last = key == max(source.rows)
            source.append("r", key, source.rows[key], ends_snapshot=is_last)

    # What happens on the way, and to the platform

    @precondition(lambda self: self.source.log)
    @rule(data=st.data(), crash_in=st.sampled_from([None, None, *MODELS]))
    def deliver(self, data: st.DataObject, crash_in: str | None) -> None:
        places = st.integers(0, len(self.source.log) - 1)
        chosen = data.draw(st.lists(places, min_size=1, max_size=8))
        self._stage(chosen, crash_in)

    def _stage(self, chosen: list[int], crash_in: str | None = None) -> None:
        batch = []
        for place in chosen:
            batch.append(replace(self.source.log[place], offset=self.offset))
            self.offset += 1
        self.delivered.update(chosen)
        self.warehouse.land(batch)
        self.warehouse.stage(crash_in)
        self.pending = [*getattr(self, "pending", []), *batch]
        if crash_in != "hist":
            self.reference.stage(self.pending)
            self.pending = []

    def teardown(self) -> None:
        missing = [n for n in range(len(self.source.log)) if n not in self.delivered]
        if not self.source.log:
            return
        self._stage(missing or [0])
        found = self._found(self.warehouse)
        assert found["current"] == rows_of(self.reference.current()), "the reference"
        assert found["current"] == {
            (key, *(row[name] for name in TRACKED)) for key, row in self.source.rows.items()
        }, "the source's own rows"
        assert found["history"] == Counter(
            (c.op, *(c.key or (None,)), c.order[0]) for c in self.reference.history()
        )
        assert found["versions"] == Counter(
            (*v.key, *(value for _, value in v.values), v.valid_from, v.valid_to)
            for v in self.reference.versions(TRACKED)
        )
        arrivals = self.warehouse.query(
            "select sum(applied), sum(duplicate), sum(stale) from state.arrival"
        )[0]
        names = ("applied", "duplicate", "stale")
        assert dict(zip(names, arrivals, strict=True)) == dict(self.reference.counters)
        assert self._found(self.warehouse.rebuilt()) == found, "a full refresh"
        self._assert_kept_beyond_retention(found)
        self.warehouse.connection.close()

    def _assert_kept_beyond_retention(self, found: dict[str, Any]) -> None:
        horizon = median_high(change.at for change in self.source.log)
        left = self.warehouse.retired(datetime.fromtimestamp(horizon / 1_000_000, UTC))
        kept = self._found(left)
        assert kept["current"] == found["current"], "what retention leaves"
        assert since(kept["versions"], horizon) == since(found["versions"], horizon)
        ((rows,),) = left.query("select count(*) from raw.thing")
        Convergence.retired += self.offset - rows
        left.connection.close()

    def _found(self, warehouse: Warehouse) -> dict[str, Any]:
        table = self.compiled.scenario.table
        return {
            "current": set(
                warehouse.query(f"select id, v, big from base_{table} where not _is_deleted")
            ),
            "history": Counter(
                warehouse.query(
                    f"select _op, id, left(_order_key, 10)::int from hist_{table} where _op <> 'p'"
                )
            ),
            "versions": Counter(
                warehouse.query(
                    f"""select id, v, big, epoch_us(valid_from), epoch_us(valid_to)
                    from dim_{table}"""
                )
            ),
        }


def since(versions: Counter[tuple[Any, ...]], horizon: int) -> Counter[tuple[Any, ...]]:
    """The versions that were true at the horizon or after it, as they were from there on."""
    return Counter(
        (*of, max(valid_from, horizon), valid_to)
        for *of, valid_from, valid_to in versions.elements()
        if valid_to is None or valid_to > horizon
    )


def rows_of(current: dict[Key, Values]) -> set[tuple[Any, ...]]:
    return {(*key, *(row[name] for name in TRACKED)) for key, row in current.items()}


def test_any_delivery_converges(compiled: Compiled) -> None:
    Convergence.compiled = compiled
    run_state_machine_as_test(
        Convergence,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=14,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert Convergence.retired > 0


def test_the_statements_are_those_of_three_models_and_two_builds(compiled: Compiled) -> None:
    for build in ("first", "increment"):
        assert all(compiled.statements[build][part] for part in MODELS)
    assert any("delete from" in sql for sql in compiled.statements["increment"]["base"])
