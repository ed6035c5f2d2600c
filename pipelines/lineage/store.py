"""The events that the lake keeps: a file for each run, and the newest of each job."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.lake import lock
from pipelines.lake.files import replace_text
from pipelines.lineage.events import Event
from pipelines.settings import Settings

# Of this many runs all events stay as they are; of what is older, the newest of each job.
KEPT_RUNS = 10
_LOCK = "lineage"


def folder(settings: Settings) -> Path:
    """Where events lie."""
    return settings.home / "lineage"


def append(settings: Settings, run_id: str, events: Iterable[Event]) -> None:
    """Keep events of a run, one line each.

    Raises:
        OSError: they cannot be written.
    """
    runs = _runs(settings)
    runs.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(event) + "\n" for event in events)
    with (runs / f"{run_id}.jsonl").open("a", encoding="utf-8") as handle:
        handle.write(lines)


def events(settings: Settings) -> Iterator[Event]:
    """All events that are kept, those of older runs first."""
    for path in [_newest(settings), *_files(settings)]:
        yield from _read(path)


def fold(settings: Settings) -> None:
    """Where there are twice as many runs as are kept: of the older half, keep what counts.

    Raises:
        OSError: the files cannot be written.
    """
    files = _files(settings)
    if len(files) <= 2 * KEPT_RUNS:
        return
    settings.state.mkdir(parents=True, exist_ok=True)
    try:
        with lock.exclusive(settings.state, "lineage", 0.0, name=_LOCK):
            old = files[:-KEPT_RUNS]
            found = newest(e for path in [_newest(settings), *old] for e in _read(path))
            kept = [e for one in found for e in (one.telling, one.last) if e is not None]
            lines = dict.fromkeys(json.dumps(event) + "\n" for event in kept)
            replace_text(_newest(settings), "".join(lines))
            for path in old:
                path.unlink(missing_ok=True)
    except lock.Busy:
        # Another run is at it.
        return


@dataclass(frozen=True)
class Newest:
    """What counts of a job's events.

    Attributes:
        last: how it is.
        telling: what it reads and writes: its last good run with any, else its last one with any.
    """

    last: Event
    telling: Event | None


def newest(found: Iterable[Event]) -> list[Newest]:
    """What counts of each job's events."""
    last: dict[tuple[str, str], Event] = {}
    telling: dict[tuple[str, str], Event] = {}
    for event in found:
        job = (event["job"]["namespace"], event["job"]["name"])
        if job not in last or event["eventTime"] >= last[job]["eventTime"]:
            last[job] = event
        tells = event["inputs"] or event["outputs"]
        if tells and (job not in telling or _weight(event) >= _weight(telling[job])):
            telling[job] = event
    return [Newest(event, telling.get(job)) for job, event in last.items()]


def _weight(event: Event) -> tuple[bool, str]:
    return event["eventType"] == "COMPLETE", str(event["eventTime"])


def remember(settings: Settings, name: str, content: Any) -> None:
    """Keep something beside the events for runs to come.

    Raises:
        OSError: it cannot be written.
    """
    folder(settings).mkdir(parents=True, exist_ok=True)
    replace_text(folder(settings) / f"{name}.json", json.dumps(content))


def remembered(settings: Settings, name: str) -> Any:
    """What was kept under this name; None where nothing was, or it cannot be read."""
    try:
        return json.loads((folder(settings) / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _runs(settings: Settings) -> Path:
    return folder(settings) / "runs"


def _newest(settings: Settings) -> Path:
    return folder(settings) / "newest.jsonl"


def _files(settings: Settings) -> list[Path]:
    """By the time of their last event: a run that goes on for days is not an old one."""
    runs = _runs(settings)
    if not runs.is_dir():
        return []
    found = [(entry.stat().st_mtime_ns, entry.name) for entry in os.scandir(runs)]
    return [runs / name for _, name in sorted(found) if name.endswith(".jsonl")]


def _read(path: Path) -> Iterator[Event]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            # A run that was killed leaves half a line.
            continue
