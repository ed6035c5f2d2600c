"""Every case in every delivery ends in what the case and the reference say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.cdc.ledger import COUNTERS
from pipelines.errors import LakehouseError
from tests.conformance.platform import Platform, Row
from tests.conformance.scenario import CASES, CHOSEN, START_US, Scenario, folders

DELIVERIES = ("told", "each", "twice", "shuffled")
FOLDERS = folders()
SCENARIOS = [Scenario(name, content) for name, content in FOLDERS.items() if "events" in content]
ENDING = [scenario for scenario in SCENARIOS if not scenario.refused]
REFUSED = [scenario for scenario in SCENARIOS if scenario.refused]
HELD_BY = [(name, test) for name, content in FOLDERS.items() for test in content.get("held_by", [])]
PAIRS = [
    pytest.param(scenario, delivery, id=f"{scenario.name}-{delivery}")
    for delivery in DELIVERIES
    for scenario in ENDING
    if delivery in scenario.deliveries
]


@pytest.fixture(scope="session")
def platforms(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Platform]:
    """Per delivery, the lake and the work file after the last batch of every case."""
    done: dict[str, Platform | Exception] = {}

    def delivered(delivery: str) -> Platform:
        if delivery not in done:
            try:
                done[delivery] = _delivered(tmp_path_factory.mktemp(delivery), delivery)
            except Exception as error:
                # Kept, so that it is told at once by each test instead of tried again.
                done[delivery] = error
        found = done[delivery]
        if isinstance(found, Exception):
            raise found
        return found

    return delivered


def _delivered(folder: Path, delivery: str) -> Platform:
    taking_part = [s for s in ENDING if delivery in s.deliveries]
    platform = Platform(folder, taking_part)
    batches = {s: s.batches(delivery) for s in taking_part}
    for number in range(max(map(len, batches.values()))):
        platform.deliver({s: b[number] for s, b in batches.items() if number < len(b)})
    return platform


def seconds(instant: datetime | None) -> int | None:
    """A time of the source, as the cases write it."""
    if instant is None:
        return None
    start = datetime.fromtimestamp(START_US // 1_000_000, UTC)
    return int((instant - start) / timedelta(seconds=1))


def comparable(rows: list[Row]) -> list[tuple[tuple[str, Any], ...]]:
    return sorted((tuple((n, str(v)) for n, v in row.items()) for row in rows), key=str)


def landed_counters(platform: Platform, scenario: Scenario) -> Counter[str]:
    counters: Counter[str] = Counter()
    for row in platform.ledger:
        if row["topic"] in scenario.topics:
            counters.update({name: row[name] or 0 for name in ("consumed", *COUNTERS)})
    return +counters


@pytest.mark.parametrize(("scenario", "delivery"), PAIRS)
def test_case(platforms: Callable[[str], Platform], scenario: Scenario, delivery: str) -> None:
    platform = platforms(delivery)
    reference = scenario.reference(delivery)
    expected, table = scenario.expected, scenario.table
    columns = ", ".join(f'"{name}"' for name in scenario.columns)

    history = platform.query(f"select _op from hist_{table} where _op <> 'p' order by _order_key")
    ops = [change.op for change in reference.history()]
    assert sorted(row["_op"] for row in history) == sorted(ops)
    if delivery in ("told", "each"):
        assert "".join(ops) == expected["history"]

    if scenario.key:
        current = platform.query(f"select {columns} from base_{table} where not _is_deleted")
        told = [dict.fromkeys(scenario.columns) | row for row in expected["current"]]
        assert comparable(current) == comparable(told)
        assert comparable(current) == comparable(list(reference.current().values()))

    if scenario.has_versions:
        tracked = [name for name in scenario.columns if name not in scenario.key]
        versions = [
            (row[scenario.key[0]], *(row[n] for n in tracked), row["valid_from"], row["valid_to"])
            for row in platform.query(f"select * from dim_{table}")
        ]
        found = sorted((*map(str, v[:-2]), *map(seconds, v[-2:])) for v in versions)
        by_reference = [
            (v.key[0], *(value for _, value in v.values), v.valid_from, v.valid_to)
            for v in reference.versions(tracked)
        ]
        assert found == sorted((*map(str, v[:-2]), *map(since_start, v[-2:])) for v in by_reference)
        if "versions" in expected and delivery == "told":
            assert found == sorted((*map(str, v[:-2]), *v[-2:]) for v in expected["versions"])

    counters = landed_counters(platform, scenario)
    assert counters["consumed"] == sum(counters[name] for name in COUNTERS)
    copies = 2 if delivery == "twice" else 1
    told_counters = Counter(expected["counters"])
    assert counters - Counter(consumed=10**9) == Counter(
        {name: copies * number for name, number in told_counters.items()}
    )
    dead = expected.get("dead", [])
    assert sorted(dead_letters(platform, scenario)) == sorted(copies * dead)
    if delivery == "twice":
        assert platform.replayed[scenario.stream_topic] == len(scenario.own_messages)

    (arrivals,) = platform.query(
        f"""select coalesce(sum(applied), 0)::int as applied, coalesce(sum(stale), 0)::int as stale,
            coalesce(sum(duplicate), 0)::int as duplicate
            from state.arrival where model = 'hist_{table}'"""
    )
    assert arrivals == dict(reference.counters)
    assert sum(arrivals.values()) == counters["landed"] + counters["truncate"]
    if "staging" in expected and delivery == "told":
        assert arrivals == dict.fromkeys(arrivals, 0) | expected["staging"]


def since_start(at_us: int | None) -> int | None:
    return None if at_us is None else (at_us - START_US) // 1_000_000


def dead_letters(platform: Platform, scenario: Scenario) -> list[str]:
    letters = [row for row in platform.dead_letters if row["topic"] in scenario.topics]
    return [letter["reason_code"] for letter in letters]


@pytest.mark.parametrize("scenario", REFUSED, ids=lambda scenario: scenario.name)
def test_refused(tmp_path: Path, scenario: Scenario) -> None:
    """The last batch is refused, again and again, and leaves everything as it was."""
    platform = Platform(tmp_path, [scenario])
    *good, last = scenario.batches("told")
    for batch in good:
        platform.land({scenario: batch})
    before = platform.raw_rows(scenario)
    for _ in range(2):
        with pytest.raises(LakehouseError, match=str(scenario.refused)) as caught:
            platform.land({scenario: last})
        assert caught.value.remedy
    assert platform.raw_rows(scenario) == before
    assert landed_counters(platform, scenario) == Counter(scenario.expected["counters"])


@pytest.mark.parametrize(("name", "test"), HELD_BY)
def test_what_holds_a_case_exists(name: str, test: str) -> None:
    file, _, function = test.partition("::")
    assert f"\ndef {function}(" in (CASES.parents[2] / file).read_text(), f"{name}: {test}"


@pytest.mark.skipif(CHOSEN is not None, reason="only some cases were chosen")
def test_the_list_is_whole() -> None:
    assert {int(name[:2]) for name in FOLDERS} == set(range(1, 56))
