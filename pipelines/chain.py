"""The chain: land, build, publish. Plain functions, composed here and nowhere else."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import structlog

from pipelines import targets
from pipelines.cdc.kafka import KafkaSource, land_kafka
from pipelines.cdc.land import LandReport, land
from pipelines.contract import load_contracts
from pipelines.errors import LakehouseError
from pipelines.lake import lock
from pipelines.lake.duck import connect_warehouse
from pipelines.lake.ids import new_run_id, now
from pipelines.lake.publish import Manifest, publish, read_manifest
from pipelines.lake.storage import clear_about_storage
from pipelines.lineage.recording import Lineage, recording
from pipelines.settings import EMBEDDED, Settings
from pipelines.transform import BuildReport, build

log = structlog.get_logger()

Step = Literal["land", "mark", "build", "publish"]
Progress = Callable[[Step, str], None]
DOING: dict[Step, str] = {
    "land": "Landing", "mark": "Marking", "build": "Building", "publish": "Publishing"
}  # fmt: skip


@dataclass
class Recorder:
    """What is kept of a run while it is on.

    Attributes:
        lineage: takes what the run reads and writes; its id is the run's.
        told: what its record shall tell if it ends well.
        seconds: how long each step took.
    """

    run_id: str
    lineage: Lineage
    told: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    def finished(self, step: Step) -> None:
        """End a step; the next one begins now."""
        self.seconds[step] = round(time.monotonic() - self._began, 2)
        self._began = time.monotonic()


@dataclass
class RunReport:
    """What one run of the chain did; on a server nothing is published beside what it has built."""

    run_id: str
    landing: LandReport
    build: BuildReport
    manifest: Manifest | None
    seconds: dict[str, float]


def run(
    settings: Settings,
    source: Path | KafkaSource | None = None,
    *,
    command: str = "lakehouse run",
    on_progress: Progress = lambda step, detail: None,
) -> RunReport:
    """Land what is new, build what follows from it, publish it if all its tests pass.

    Where a server builds, its own tables are what readers see.

    Args:
        source: folder of capture files, or Kafka; None means the lake's inbox, which may be empty.

    Raises:
        UsageError: the settings do not tell enough of the server that builds.
        Busy: another run holds this lake.
        LakehouseError: a step failed. What landed stays landed; what is published stays as it was.
    """
    # What is missing for the build is told before anything lands.
    targets.variables(settings)
    with recorded(settings, command) as recorder:
        landing = land_step(settings, source, recorder.lineage, on_progress)
        recorder.finished("land")
        recorder.told |= {"landed": landing.landed, "dead": landing.dead}
        manifest = None
        if settings.target == EMBEDDED:
            built, manifest = build_and_publish(settings, recorder, on_progress)
        else:
            built = _build(settings, recorder, on_progress)
    return RunReport(recorder.run_id, landing, built, manifest, recorder.seconds)


@contextmanager
def recorded(settings: Settings, command: str) -> Iterator[Recorder]:
    """Hold the lake for a run, and leave a record of it, whether it ends well or not.

    Raises:
        Busy: another run holds this lake.
    """
    run_id = new_run_id()
    record: dict[str, Any] = {"run_id": run_id, "command": command, "started_at": str(now())}
    with (
        structlog.contextvars.bound_contextvars(run_id=run_id),
        lock.exclusive(settings.state, command),
        recording(settings, run_id, command) as lineage,
    ):
        recorder = Recorder(run_id, lineage)
        try:
            with clear_about_storage(settings):
                yield recorder
            record |= {"status": "completed"} | recorder.told
        except BaseException as error:
            record |= {"status": "failed", "error": str(error) or type(error).__name__}
            raise
        finally:
            record |= {"finished_at": str(now()), "seconds": recorder.seconds}
            _append_record(settings, record)


def build_and_publish(
    settings: Settings, recorder: Recorder, on_progress: Progress = lambda step, detail: None
) -> tuple[BuildReport, Manifest]:
    """Build what follows from what has landed, and publish it if all its tests pass."""
    built = _build(settings, recorder, on_progress)
    with recorder.lineage.step("publish") as step:
        manifest = publish_built(settings, built, recorder.run_id, on_progress)
        step.published(manifest)
    recorder.finished("publish")
    return built, manifest


def _build(settings: Settings, recorder: Recorder, on_progress: Progress) -> BuildReport:
    with recorder.lineage.step("build") as step:
        built = build(
            settings, on_node=lambda name: on_progress("build", name), on_results=step.built
        )
    recorder.finished("build")
    return built


def land_alone(settings: Settings, source: Path | KafkaSource | None, command: str) -> LandReport:
    """Land what is new, as a run of its own; others may land or build meanwhile.

    Raises:
        LakehouseError: as `run`.
    """
    run_id = new_run_id()
    with (
        structlog.contextvars.bound_contextvars(run_id=run_id),
        recording(settings, run_id, command) as lineage,
        clear_about_storage(settings),
    ):
        return land_step(settings, source, lineage)


def land_step(
    settings: Settings,
    source: Path | KafkaSource | None,
    lineage: Lineage,
    on_progress: Progress = lambda step, detail: None,
) -> LandReport:
    """Land as a step of a run, which tells its lineage."""
    with lineage.step("land") as step:
        began = now()
        if isinstance(source, KafkaSource) and source.follow:
            # It may go on for days: each table is told of with its first batch.
            tell = partial(step.landed, source=source, began=began, goes_on=True)
            source = replace(source, on_batch=tell)
        landing = land_new(settings, source, lineage.run.run_id, on_progress)
        step.landed(landing, source, began)
    return landing


def land_new(
    settings: Settings,
    source: Path | KafkaSource | None,
    run_id: str,
    on_progress: Progress = lambda step, detail: None,
) -> LandReport:
    """Land from Kafka or a capture folder; else from the inbox, where no file is no news."""
    contracts = load_contracts(settings.project_dir)

    def on_topic(topic: str) -> None:
        on_progress("land", topic)

    if isinstance(source, KafkaSource):
        return land_kafka(source, contracts, settings, run_id, on_topic)
    folder = source
    if folder is None:
        folder = settings.inbox
        folder.mkdir(parents=True, exist_ok=True)
    return land(folder, contracts, settings, run_id, on_topic)


def publish_built(
    settings: Settings,
    built: BuildReport,
    run_id: str,
    on_progress: Progress = lambda step, detail: None,
) -> Manifest:
    """Publish a green build, unless readers see that very build already."""
    former = read_manifest(settings.published)
    if former is not None and former.build_id == built.build_id:
        return former
    on_progress("publish", f"{len(built.sources)} tables")
    with connect_warehouse(settings) as connection:
        (dated,) = connection.execute(
            "select cast(max(business_date) as varchar) from intermediate.int_business_date"
        ).fetchall()
        return publish(
            connection,
            built.sources,
            settings.published,
            run_id=run_id,
            build_id=built.build_id,
            business_date=dated[0],
        )


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
