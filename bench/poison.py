"""Landing what is broken, and what has many schemas, against the same events as they were."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from bench.measure import Cost, cpu_s, judged, lakehouse, peak_mib, size, table, wall_s
from bench.sales import TOPIC, sale_lines, write_sales

ROUNDS = 3
ONE_IN = 100
VARIANTS = 50
POISON_GOAL = 1.3
VARIANTS_GOAL = 2.0
HEADER = ["what", "wall s", "CPU s", "peak MiB", "landed", "dead letters",
          "time without start-up, against the base"]  # fmt: skip

Message = dict[str, Any]


def main() -> None:
    """Print rates and ratios; each figure is the median of its rounds, taken in turn.

    The environment variable BENCH_ROWS asks for another number of events than 300,000; a third of
    them has many schemas.
    """
    count = size("BENCH_ROWS", 300_000)
    third = count // 3
    folder = Path(tempfile.mkdtemp(prefix="bench-poison-"))
    try:
        clean = list(sale_lines(folder, count))
        captures = {
            "start": clean[:1],
            "clean": clean,
            "poisoned": _poisoned(clean),
            "uniform": islice(clean, third),
            "varied": _varied(islice(clean, third)),
        }
        inboxes = {name: write_sales(lines, folder / name) for name, lines in captures.items()}
        del clean, captures
        costs: dict[str, list[Cost]] = {name: [] for name in inboxes}
        for turn in range(ROUNDS):
            for name, inbox in inboxes.items():
                home = folder / f"lake-{turn}-{name}"
                land = ("land", "--from", str(inbox), "--json")
                costs[name].append(lakehouse(*land, home=home, cpus=1))
                shutil.rmtree(home)
        _print(count, costs)
    finally:
        shutil.rmtree(folder)


def _print(count: int, costs: dict[str, list[Cost]]) -> None:
    start = wall_s(costs["start"])

    def against(name: str, base: str, goal: float) -> str:
        of_base = wall_s(costs[base]) - start
        if of_base < start / 2:
            return f"too few events to tell (goal ≤ {goal:g})"
        return judged((wall_s(costs[name]) - start) / of_base, goal)

    poison = against("poisoned", "clean", POISON_GOAL)
    variants = against("varied", "uniform", VARIANTS_GOAL)
    third = f"{count // 3:,} events"
    rows = [
        _row("one event: the start-up", costs["start"], ""),
        _row(f"{count:,} events", costs["clean"], "base"),
        _row("1 % of them bad, of four kinds", costs["poisoned"], poison),
        _row(third, costs["uniform"], "base"),
        _row(f"{third} of {VARIANTS} schemas", costs["varied"], variants),
    ]
    table("Landing bad messages and many schemas (whole processes, one core)", HEADER, rows)


def _row(name: str, costs: list[Cost], against: str) -> list[object]:
    told = json.loads(costs[0].stdout)[TOPIC]
    counts = [f"{told[disposition]:,}" for disposition in ("landed", "dead")]
    return [name, wall_s(costs), cpu_s(costs), f"{peak_mib(costs):,.0f}", *counts, against]


def _poisoned(lines: Iterable[bytes]) -> Iterator[bytes]:
    """One message in a hundred is broken, in each of the ways in turn."""
    for number, line in enumerate(lines):
        nth, place = divmod(number, ONE_IN)
        # Halfway: the first event stays, and with it the start of the topic.
        yield _WAYS[nth % len(_WAYS)](line) if place == ONE_IN // 2 else line


def _broken_line(line: bytes) -> bytes:
    return line[:-20]


def _broken_payload(line: bytes) -> bytes:
    message = json.loads(line)
    # A tombstone has no payload; it gets one that is no event.
    message["payload"] = (message["payload"] or "{}")[:-1]
    return json.dumps(message).encode()


def _wrong_type(line: bytes) -> bytes:
    return _changed(line, lambda event: _image(event).update(quantity="many"))


def _unknown_op(line: bytes) -> bytes:
    return _changed(line, lambda event: event.update(op="x"))


_WAYS = (_broken_line, _broken_payload, _wrong_type, _unknown_op)


def _varied(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Each event has one of the schemas: two fields of its own, and one of the table's missing."""
    for number, line in enumerate(lines):
        yield _changed(line, lambda event, variant=number % VARIANTS: _vary(event, variant))


def _vary(event: Message, variant: int) -> None:
    image = _image(event)
    values = [name for name in image if name != "sale_id"]
    del image[values[variant % len(values)]]
    image[f"text_{variant}"] = "a value unknown to the contract"
    image[f"nested_{variant}"] = {"number": variant, "list": [variant, None]}


def _changed(line: bytes, change: Callable[[Message], None]) -> bytes:
    """The message with its event changed; a tombstone, which has none, as it is."""
    message = json.loads(line)
    if message["payload"] is None:
        return line
    event = json.loads(message["payload"])
    change(event)
    message["payload"] = json.dumps(event, separators=(",", ":"))
    return json.dumps(message, separators=(",", ":")).encode()


def _image(event: Message) -> Message:
    image: Message = event["after"] or event["before"]
    return image
