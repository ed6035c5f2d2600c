"""The record of a run: who holds the lake, how each step is called, what became of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import structlog

from pipelines.caller import COMMAND_LINE, Call, Caller, directly
from pipelines.errors import LakehouseError
from pipelines.lake import lock
from pipelines.lake.ids import new_run_id, now
from pipelines.lake.storage import clear_about_storage
from pipelines.lineage.recording import Lineage, recording
from pipelines.lineage.recording import Step as Told
from pipelines.quality.gatekeeper import GateBlocked
from pipelines.settings import Settings

log = structlog.get_logger()

T = TypeVar("T")


@dataclass
class Recorder:
    """What is kept of a run while it is on.

    Attributes:
        lineage: takes what the run reads and writes; its id is the run's.
        call: how its steps are called.
        told: what its record shall tell if it ends well.
        seconds: how long each step took.
    """

    run_id: str
    lineage: Lineage
    call: Call = directly
    told: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    def step(self, name: str, work: Callable[[Told], T]) -> T:
        """Do a part of the run as its caller has it done, and tell its lineage.

        Args:
            name: of the step: `land`, `gate-staging`.
            work: is handed what takes what it reads and writes.
        """
        with self.lineage.step(name.replace("-", ".")) as told:
            return self.call(name, lambda: work(told))

    def finished(self, step: str) -> None:
        """End a step, or a part of it; the next one begins now."""
        spent = self.seconds.get(step, 0.0) + time.monotonic() - self._began
        self.seconds[step] = round(spent, 2)
        self._began = time.monotonic()


@contextmanager
def recorded(settings: Settings, command: str, by: Caller = COMMAND_LINE) -> Iterator[Recorder]:
    """Hold the lake for a run, and leave a record of it, whether it ends well or not.

    Raises:
        Busy: another run holds this lake.
    """
    run_id = by.run_id or new_run_id()
    record: dict[str, Any] = {"run_id": run_id, "command": command, "started_at": str(now())}
    with ExitStack() as held:
        held.enter_context(structlog.contextvars.bound_contextvars(run_id=run_id))
        by.call("hold", lambda: held.enter_context(lock.exclusive(settings.state, command)))
        lineage = held.enter_context(recording(settings, run_id, command))
        recorder = Recorder(run_id, lineage, by.call)
        try:
            with ExitStack() as told:
                by.call("reach", lambda: told.enter_context(clear_about_storage(settings)))
                yield recorder
            record |= {"status": "completed"} | recorder.told
        except BaseException as error:
            status = "blocked" if isinstance(error, GateBlocked) else "failed"
            record |= {"status": status, "error": str(error) or type(error).__name__}
            raise
        finally:
            record |= {"finished_at": str(now()), "seconds": recorder.seconds}
            _append_record(settings, record)


def _runs_file(settings: Settings) -> Path:
    return settings.state / "runs.jsonl"


def _append_record(settings: Settings, record: dict[str, Any]) -> None:
    try:
        with _runs_file(settings).open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(record) + "\n")
    except OSError as error:
        # A full disk must not hide the error that is on its way up.
        log.warning("run record not written", error=str(error))


def last_runs(settings: Settings, count: int = 5) -> list[dict[str, Any]]:
    """The newest run records, newest first."""
    if not _runs_file(settings).exists():
        return []
    lines = _runs_file(settings).read_text(encoding="utf-8").splitlines()
    records: list[dict[str, Any]] = []
    for line in reversed(lines):
        if len(records) == count:
            break
        try:
            records.append(json.loads(line))
        except ValueError:
            raise LakehouseError(
                f"{_runs_file(settings)} holds a line that is not JSON",
                "remove that line; the records are for information only",
            ) from None
    return records
