"""The whole line: first run, nothing new, and one new day after one month and after ten."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from bench.measure import Cost, cpu_s, lakehouse, peak_mib, table, wall_s

HEADER = ["what", "wall s", "CPU s", "peak MiB"]
ROUNDS = 3


def main() -> None:
    """Print the times of the default demo and of its increments."""
    folder = Path(tempfile.mkdtemp(prefix="bench-line-"))
    try:
        home = folder / "lake"
        first = lakehouse("demo", home=home)
        again = lakehouse("run", home=home)
        query = lakehouse("sql", "select count(*) from marts.fct_sale", home=home)
        table(
            "The default demo (500 clients, 1.05 million events)",
            HEADER,
            [
                _row("lakehouse demo, everything", first),
                _row("lakehouse run, nothing new", again),
                _row("lakehouse sql, one count", query),
            ],
        )
        _one_day(folder)
    finally:
        shutil.rmtree(folder)


def all_clients() -> None:
    """Print the time and memory of the whole year of all clients."""
    folder = Path(tempfile.mkdtemp(prefix="bench-all-"))
    try:
        cost = lakehouse("demo", "--clients", "all", home=folder / "lake")
        table("All clients (5.5 million events)", HEADER, [_row("lakehouse demo", cost)])
    finally:
        shutil.rmtree(folder)


def _one_day(folder: Path) -> None:
    """The same weekday's events after one month and after ten months of history."""
    rows: list[list[object]] = []
    walls: list[float] = []
    for label, start in (("one month", "2017-02-01"), ("ten months", "2017-11-01")):
        home = folder / f"lake-{label.replace(' ', '-')}"
        capture = ("shop", "capture", "--to", str(home / "inbox"))
        lakehouse(*capture, "--until", start, home=home)
        lakehouse("run", home=home)
        costs: list[Cost] = []
        events = 0
        day = int(start[-2:])
        for turn in range(ROUNDS):
            begin, end = (f"{start[:-2]}{day + turn + more:02d}" for more in (0, 1))
            lakehouse(*capture, "--from", begin, "--until", end, home=home)
            costs.append(lakehouse("run", "--json", home=home))
            events += int(json.loads(costs[-1].stdout)["landed"])
        walls.append(wall_s(costs))
        name = f"one new day after {label} ({events // ROUNDS:,} events)"
        rows.append([name, walls[-1], cpu_s(costs), f"{peak_mib(costs):,.0f}"])
    table("One new day (lakehouse run, median of three days)", HEADER, rows)
    print(f"\nAfter ten months a day costs {walls[1] / walls[0]:.2f} times what it does after one.")


def _row(name: str, cost: Cost) -> list[object]:
    return [name, cost.wall_s, cost.cpu_s, f"{cost.peak_mib:,.0f}"]
