"""The chain: land, stage, gate, build, gate, publish. Plain functions, composed here alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Thread
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
from pipelines.lake.publish_on_trino import publish_on_trino
from pipelines.lake.storage import clear_about_storage
from pipelines.lineage.gates import checks
from pipelines.lineage.recording import Lineage, recording
from pipelines.quality.gatekeeper import GateBlocked, Gatekeeper
from pipelines.quality.promises import translated
from pipelines.quality.suites import Gate
from pipelines.quality.warehouse import GATED
from pipelines.settings import EMBEDDED, Settings
from pipelines.transform import STAGING, Build, BuildReport

log = structlog.get_logger()

Step = Literal["land", "mark", "stage", "build", "gate", "publish"]
Progress = Callable[[Step, str], None]
DOING: dict[Step, str] = {
    "land": "Landing", "mark": "Marking", "stage": "Staging", "build": "Building",
    "gate": "Checking", "publish": "Publishing",
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
        """End a step, or a part of it; the next one begins now."""
        spent = self.seconds.get(step, 0.0) + time.monotonic() - self._began
        self.seconds[step] = round(spent, 2)
        self._began = time.monotonic()


@dataclass
class RunReport:
    """What one run of the chain did; on Spark nothing is published beside what it has built."""

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

    Where Trino builds, readers see views that move; where Spark does, its own tables.

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
        with _gates_imported_meanwhile(settings, on_progress) as on_topic:
            landing = land_step(settings, source, recorder.lineage, on_topic)
        recorder.finished("land")
        recorder.told |= {"landed": landing.landed, "dead": landing.dead}
        manifest = None
        built = build_checked(settings, recorder, on_progress)
        if settings.target in GATED and built.sources:
            manifest = publish_built(settings, built, recorder, on_progress)
    return RunReport(recorder.run_id, landing, built, manifest, recorder.seconds)


@contextmanager
def _gates_imported_meanwhile(settings: Settings, on_progress: Progress) -> Iterator[Progress]:
    """What tells of progress, and once there is any has the gates' library imported beside it.

    That takes seconds of one core, while a landing mostly waits for disk and the other one.
    """
    imports = Thread(target=import_module, args=("pipelines.quality.gate",))

    def tell(step: Step, detail: str) -> None:
        if settings.target in GATED and imports.ident is None:
            imports.start()
        on_progress(step, detail)

    try:
        yield tell
    finally:
        # dbt shares modules with it: they are not imported by two threads at once.
        if imports.ident is not None:
            imports.join()


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
            status = "blocked" if isinstance(error, GateBlocked) else "failed"
            record |= {"status": status, "error": str(error) or type(error).__name__}
            raise
        finally:
            record |= {"finished_at": str(now()), "seconds": recorder.seconds}
            _append_record(settings, record)


def build_and_publish(
    settings: Settings, recorder: Recorder, on_progress: Progress = lambda step, detail: None
) -> tuple[BuildReport, Manifest]:
    """Build what follows from what has landed, and publish it if it passes its gates."""
    built = build_checked(settings, recorder, on_progress)
    return built, publish_built(settings, built, recorder, on_progress)


def build_checked(
    settings: Settings, recorder: Recorder, on_progress: Progress = lambda step, detail: None
) -> BuildReport:
    """Build what follows from what has landed: staging, then the rest, each to pass its gate.

    On Spark there is no gate: dbt runs all its tests itself.

    Raises:
        BuildFailed: a model or a test of dbt failed.
        GateBlocked: a rule does not hold that must.
    """
    build = Build(settings, on_node=lambda name: on_progress("build", name))
    if build.report.skipped or settings.target not in GATED:
        with recorder.lineage.step("build") as step:
            if not build.report.skipped:
                build.make(on_results=step.built)
                build.accept()
        recorder.finished("build")
        return build.report
    keeper = Gatekeeper(settings, build.project.manifest, recorder.run_id)
    is_rule = translated(build.project.manifest)
    staging = ("--select", STAGING, *(["--exclude", *is_rule] if is_rule else []))
    with recorder.lineage.step("stage") as step:
        build.make(*staging, on_results=step.built)
    recorder.finished("stage")
    on_progress("gate", "staging")
    _pass_gate(keeper, "staging", recorder.lineage)
    recorder.finished("gate")
    # Cautious: a test that compares marts with staging is one of the marts.
    rest = ("--indirect-selection", "cautious", "--exclude", STAGING, *is_rule)
    with recorder.lineage.step("build") as step:
        build.make(*rest, on_results=step.built)
    recorder.finished("build")
    on_progress("gate", "marts")
    _pass_gate(keeper, "marts", recorder.lineage)
    keeper.write_docs()
    build.report.gates = keeper.reports
    build.accept()
    recorder.finished("gate")
    return build.report


def _pass_gate(keeper: Gatekeeper, gate: Gate, lineage: Lineage) -> None:
    with lineage.step(f"gate.{gate}") as step:
        try:
            keeper.check(gate)
        finally:
            for report in keeper.reports:
                if report.gate == gate:
                    step.checked(checks(report))


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
    recorder: Recorder,
    on_progress: Progress = lambda step, detail: None,
) -> Manifest:
    """Publish a build that passed its gates, unless readers see that very build already."""
    with recorder.lineage.step("publish") as step:
        manifest = _published(settings, built, recorder.run_id, on_progress)
        step.published(manifest)
    recorder.finished("publish")
    return manifest


def _published(
    settings: Settings, built: BuildReport, run_id: str, on_progress: Progress
) -> Manifest:
    former = read_manifest(settings.published) if settings.target == EMBEDDED else None
    if former is not None and (former.is_held or former.build_id == built.build_id):
        return former
    on_progress("publish", f"{len(built.sources)} tables")
    if settings.target != EMBEDDED:
        return publish_on_trino(settings, built.sources, run_id=run_id, build_id=built.build_id)
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
