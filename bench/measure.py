"""Whole-process measurement: wall seconds, CPU seconds and peak memory of a command."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

MIB = 1 << 20


@dataclass(frozen=True)
class Cost:
    """What one process cost; the peak is of the process itself, not of its children."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    stdout: str
    stderr: str


def run(arguments: list[str], *, env: dict[str, str] | None = None) -> Cost:
    """Run a command to its end; a failing one ends the bench."""
    started = time.perf_counter()
    process = subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | (env or {}),
    )
    stdout, stderr = process.communicate()
    wall = time.perf_counter() - started
    if process.returncode != 0:
        sys.exit(f"{' '.join(arguments)} failed:\n{stderr}")
    # The child reports its own usage on its last line, so that grandchildren do not blur it.
    usage = stderr.rsplit("USAGE ", 1)[1].split()
    return Cost(wall, float(usage[0]), float(usage[1]), stdout, stderr)


def python(
    code: str, *arguments: str, cpus: int | None = None, env: dict[str, str] | None = None
) -> Cost:
    """Run Python code in a process of its own, pinned to so many cores."""
    cores = sorted(os.sched_getaffinity(0))[:cpus]
    # Where the main module has no file, DuckDB takes it for a person and draws progress bars.
    head = f"__file__ = 'bench'\nimport os\nos.sched_setaffinity(0, {cores})\n"
    tail = (
        "\nimport re as _re, resource as _r, sys as _s\n_u = _r.getrusage(_r.RUSAGE_SELF)\n"
        # Not ru_maxrss: a process inherits it from the one that started it.
        "_p = int(_re.search('VmHWM:.*?([0-9]+)', open('/proc/self/status').read())[1]) / 1024\n"
        "print('USAGE', _u.ru_utime + _u.ru_stime, _p, file=_s.stderr)\n"
    )
    return run([sys.executable, "-c", head + code + tail, *arguments], env=env)


def lakehouse(*arguments: str, home: Path, cpus: int | None = None) -> Cost:
    """Run the command line in a process of its own."""
    code = (
        "import sys\nfrom pipelines.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n"
        "    if end.code not in (0, None):\n        raise\n"
    )
    env = {"LAKEHOUSE_THREADS": str(cpus)} if cpus else None
    return python(code, "--home", str(home), *arguments, cpus=cpus, env=env)


def size(variable: str, default: int) -> int:
    """How much a bench does: the environment variable if set, for a smaller run than the goal's."""
    return int(os.environ.get(variable, default))


def wall_s(costs: Sequence[Cost]) -> float:
    """Median of the wall times."""
    return statistics.median(cost.wall_s for cost in costs)


def cpu_s(costs: Sequence[Cost]) -> float:
    """Median of the CPU times."""
    return statistics.median(cost.cpu_s for cost in costs)


def peak_mib(costs: Sequence[Cost]) -> float:
    """The highest of the peaks."""
    return max(cost.peak_mib for cost in costs)


def judged(figure: float, goal: float, unit: str = "") -> str:
    """A figure beside its goal, and whether it holds."""
    verdict = "holds" if figure <= goal else "MISSED"
    return f"{figure:,.2f}{unit} (goal ≤ {goal:,g}{unit}: {verdict})"


def machine() -> str:
    """One line about where this was measured."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("duckdb", "deltalake", "dbt-core"))
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {packages}, "
        f"load at start {os.getloadavg()[0]:.1f}"
    )


def table(title: str, header: list[str], rows: list[list[object]]) -> None:
    """Print a Markdown table."""
    print(f"\n### {title}\n\n{machine()}\n")
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for row in rows:
        cells = [f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row]
        print("| " + " | ".join(cells) + " |")
