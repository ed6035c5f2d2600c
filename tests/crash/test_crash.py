"""Killed at any moment, raced or overtaken: the lake ends as if nothing had happened.

`LAKEHOUSE_CRASH_KILLS` says how often the lander is killed (`make test-crash`: 200), and
`LAKEHOUSE_CRASH_SEED` repeats a run: the same events, points and delays.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from pipelines.contract import Contracts
from tests.crash.lander import OUTRUN
from tests.crash.points import (
    AFTER_DATA,
    AFTER_LEDGER,
    AFTER_LETTERS,
    BEFORE_FINISHED,
    BEFORE_LEDGER,
    IN_DATA,
    IN_LETTERS,
    POINTS,
)
from tests.unit.events import NARROW, TOPIC, Lake, message, thing

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="that a fork is safe is checked on Linux only"
)

REPOSITORY = Path(__file__).parents[2]
KILLS = int(os.environ.get("LAKEHOUSE_CRASH_KILLS", "40"))
SEED = int(os.environ.get("LAKEHOUSE_CRASH_SEED", secrets.randbelow(1_000_000)))
PARTITIONS = 3
EVENTS_A_KILL = 105
EVENTS_A_FILE = 500
LEAST_HITS = KILLS // 20
COMMITS = {IN_DATA: TOPIC, IN_LETTERS: "_dead_letters"}
SELDOM = (IN_LETTERS, AFTER_LETTERS, BEFORE_FINISHED)
LONGEST_LIFE_SECONDS = 0.8


def write_events(lake: Lake, count: int, random: Random) -> Counter[str]:
    """Write files of interleaved partitions; returns what is to become of the messages."""
    offsets = [0] * PARTITIONS
    expected: Counter[str] = Counter()
    lines: list[bytes] = []
    for number in range(count):
        partition = random.randrange(PARTITIONS)
        offset = offsets[partition]
        offsets[partition] += 1
        kind = random.random()
        if kind < 0.005:
            lines.append(b"garbage %d" % number)
        elif kind < 0.01:
            lines.append(thing(offset, partition=partition, id=number, count="x"))
        elif kind < 0.03:
            lines.append(message(offset, None, key={"id": number}, partition=partition))
        else:
            lines.append(thing(offset, partition=partition, id=number, label=f"thing {number}"))
        what = "dead" if kind < 0.01 else "tombstone" if kind < 0.03 else "landed"
        expected.update(["consumed", what])
    for first in range(0, count, EVENTS_A_FILE):
        lake.write(lines[first : first + EVENTS_A_FILE], name=f"{first:06}.jsonl")
    return expected


class Server:
    """The forking lander: lives are started, killed and waited for."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def _ask(self, **request: Any) -> dict[str, int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, int] = json.loads(self._process.stdout.readline())
        return answer

    def start(
        self,
        lake: Lake,
        point: str | None = None,
        *,
        hit: int = 1,
        strike: str = "SIGKILL",
        block_bytes: int = 1 << 16,
        inbox: Path | None = None,
    ) -> int:
        """Begin a life; returns its process id."""
        lake.folder.mkdir(parents=True, exist_ok=True)
        place = str(inbox or lake.inbox)
        return self._ask(
            do="start", folder=str(lake.folder), block_bytes=block_bytes, point=point, hit=hit,
            strike=strike, inbox=place,
        )["pid"]  # fmt: skip

    def wait(self, pid: int) -> dict[str, int]:
        """How a life ended."""
        return self._ask(do="wait", pid=pid)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    command = [sys.executable, "-m", "tests.crash.lander"]
    with subprocess.Popen(
        command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY
    ) as process:
        yield Server(process)


@dataclass
class Picture:
    """What a lake holds, apart from what tells its batches and clocks."""

    rows: pa.Table
    letters: list[tuple[Any, ...]]
    counts: Counter[str]


def picture(lake: Lake) -> Picture:
    rows = lake.table().to_pyarrow_table().drop_columns(["_batch_id", "_landed_at"])
    letters = [
        (x["letter_id"], x["source_file"], x["line_number"], x["reason_code"], x["line"])
        for x in lake.letters()
    ]
    order = [("_partition", "ascending"), ("_offset", "ascending")]
    return Picture(rows.sort_by(order), letters, lake.counts())


def assert_same(lake: Lake, oracle: Picture) -> None:
    found = picture(lake)
    assert found.counts == oracle.counts
    assert found.letters == oracle.letters
    assert found.rows.equals(oracle.rows)
    batches = lake.table().to_pyarrow_table(columns=["_batch_id"])["_batch_id"].unique()
    assert set(batches.to_pylist()) <= lake.batches()


def orphans(lake: Lake, folder: str) -> int:
    """Data files that no commit names."""
    if not DeltaTable.is_deltatable(str(lake.raw / folder)):
        return 0
    written = sum(1 for _ in (lake.raw / folder).rglob("*.parquet"))
    checkpoints = sum(1 for _ in (lake.raw / folder / "_delta_log").glob("*.parquet"))
    return written - checkpoints - len(lake.table(folder).file_uris())


@dataclass
class Tally:
    """How often the lander died, and where."""

    kills: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    lives_ended: int = 0


def kill_one_life(
    server: Server, lake: Lake, inbox: Path, point: str | None, random: Random
) -> bool:
    """A life that is to be killed at a point, or (None) at random; whether it was."""
    if point is not None:
        # Few files end in a life, few batches have letters: they are struck at the first chance.
        hit = 1 if point in SELDOM else random.randint(1, 3)
        end = server.wait(server.start(lake, point, hit=hit, inbox=inbox))
    else:
        pid = server.start(lake, inbox=inbox)
        time.sleep(random.uniform(0, LONGEST_LIFE_SECONDS))
        os.kill(pid, signal.SIGKILL)
        end = server.wait(pid)
    if end == {"killed": signal.SIGKILL}:
        return True
    assert end == {"exited": 0}, (end, (lake.folder / "lives.log").read_text()[-2000:])
    return False


def was_struck(lake: Lake, point: str, before: Mapping[str, int]) -> bool:
    """Whether death came where it was to come: inside of a commit, it leaves a file behind."""
    table = COMMITS.get(point)
    return table is None or orphans(lake, table) > before[table]


def test_killed_again_and_again_the_lake_ends_as_without_crashes(
    tmp_path: Path, server: Server
) -> None:
    print(f"LAKEHOUSE_CRASH_SEED={SEED} LAKEHOUSE_CRASH_KILLS={KILLS}")
    random = Random(SEED)
    oracle_lake = Lake(tmp_path / "oracle", Contracts([NARROW]))
    expected = write_events(oracle_lake, KILLS * EVENTS_A_KILL, random)
    assert server.wait(server.start(oracle_lake, block_bytes=1 << 25)) == {"exited": 0}
    oracle = picture(oracle_lake)
    assert oracle.counts == expected
    assert len(oracle.rows) == expected["landed"]
    assert len(oracle.letters) == expected["dead"]

    tally = Tally()
    lake = Lake(tmp_path / "0", Contracts([NARROW]))
    while tally.kills < KILLS or min(tally.hits[point] for point in POINTS) < LEAST_HITS:
        # Three of five die at the point that was struck least, the others anywhere.
        point = min(POINTS, key=tally.hits.__getitem__) if random.random() < 0.6 else None
        before = {table: orphans(lake, table) for table in COMMITS.values()}
        if kill_one_life(server, lake, oracle_lake.inbox, point, random):
            tally.kills += 1
            if point is not None and was_struck(lake, point, before):
                tally.hits[point] += 1
        else:
            assert_same(lake, oracle)
            tally.lives_ended += 1
            lake = Lake(tmp_path / str(tally.lives_ended), Contracts([NARROW]))
    assert server.wait(server.start(lake, inbox=oracle_lake.inbox)) == {"exited": 0}
    assert_same(lake, oracle)
    print(tally)


def small_lake(folder: Path, random: Random) -> tuple[Lake, Counter[str]]:
    """A lake whose inbox holds a few hundred events, and what is to become of them."""
    lake = Lake(folder, Contracts([NARROW]))
    return lake, write_events(lake, 2 * EVENTS_A_FILE, random)


def assert_landed_once(lake: Lake, expected: Counter[str]) -> None:
    assert lake.counts() == expected
    places = lake.places()
    assert len(places) == len(set(places)) == expected["landed"]
    lake.assert_reconciled()


@pytest.mark.parametrize("attempt", range(3))
def test_two_landers_at_once_land_everything_once(
    tmp_path: Path, server: Server, attempt: int
) -> None:
    print(f"LAKEHOUSE_CRASH_SEED={SEED}")
    lake, expected = small_lake(tmp_path, Random(SEED + attempt))
    both = [server.start(lake), server.start(lake)]
    ends = [server.wait(pid)["exited"] for pid in both]
    assert set(ends) <= {0, OUTRUN}, (tmp_path / "lives.log").read_text()[-2000:]
    if OUTRUN in ends:
        assert server.wait(server.start(lake)) == {"exited": 0}
    assert_landed_once(lake, expected)


@pytest.mark.parametrize(
    "point", [IN_DATA, AFTER_DATA, IN_LETTERS, AFTER_LETTERS, BEFORE_LEDGER, AFTER_LEDGER]
)
def test_a_lander_that_sleeps_while_another_does_its_work_wakes_up_harmless(
    tmp_path: Path, server: Server, point: str
) -> None:
    print(f"LAKEHOUSE_CRASH_SEED={SEED}")
    for attempt in range(10):
        lake, expected = small_lake(tmp_path / str(attempt), Random(SEED))
        sleeper = server.start(lake, point, hit=1, strike="SIGSTOP")
        assert server.wait(sleeper) == {"stopped": signal.SIGSTOP}
        if was_struck(lake, point, Counter()):
            break
        # The watcher came too late, the commit was done.
        os.kill(sleeper, signal.SIGKILL)
        server.wait(sleeper)
    else:
        pytest.fail("never fell asleep between a data file and its commit")
    assert server.wait(server.start(lake)) == {"exited": 0}
    assert_landed_once(lake, expected)
    os.kill(sleeper, signal.SIGCONT)
    assert server.wait(sleeper) == {"exited": 0}, (lake.folder / "lives.log").read_text()[-2000:]
    assert_landed_once(lake, expected)
