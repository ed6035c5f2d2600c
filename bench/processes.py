"""What a command and all that it starts cost: Java and Python together, whoever waits for whom."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from bench.measure import MIB

_LOOK_SECONDS = 0.2
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class TreeCost:
    """What a session of processes took.

    Attributes:
        began: seconds since 1970.
        peak_mib: the greatest sum of their memory, shared pages counted once (PSS).
    """

    began: float
    wall_s: float
    cpu_s: float
    peak_mib: float


@dataclass
class _Sampler:
    """Looks at the processes of one session now and then."""

    session: int
    seconds: dict[int, float] = field(default_factory=dict)
    peak_bytes: int = 0

    def look(self) -> None:
        held = 0
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) != self.session:
                    continue
                self.seconds[int(entry.name)] = (int(fields[11]) + int(fields[12])) / _TICKS
                told = (entry / "smaps_rollup").read_text()
            except (FileNotFoundError, ProcessLookupError):
                # It ended while it was looked at.
                continue
            (pss,) = [line.split()[1] for line in told.splitlines() if line.startswith("Pss:")]
            held += int(pss) * 1024
        self.peak_bytes = max(self.peak_bytes, held)


def run_session(arguments: Sequence[str], env: Mapping[str, str], cwd: Path) -> TreeCost:
    """Run a command in a session of its own, to its end; a failing one ends the bench.

    What a process takes after it was last looked at is not counted: up to 0.2 s of each.
    """
    at, began = time.time(), time.perf_counter()
    process = subprocess.Popen(
        arguments, env=os.environ | env, cwd=cwd, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    sampler, ended = _Sampler(process.pid), Event()

    def watch() -> None:
        while not ended.wait(_LOOK_SECONDS):
            sampler.look()

    watcher = Thread(target=watch)
    watcher.start()
    stdout, _ = process.communicate()
    wall = time.perf_counter() - began
    ended.set()
    watcher.join()
    if process.returncode != 0:
        sys.exit(f"{' '.join(arguments)} failed:\n{stdout[-4000:]}")
    return TreeCost(at, wall, sum(sampler.seconds.values()), sampler.peak_bytes / MIB)
