"""The chain: land, stage, gate, build, gate, publish. Plain functions, composed here alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import structlog

from pipelines import targets
from pipelines.caller import COMMAND_LINE, Call, Caller, directly
from pipelines.cdc.kafka import KafkaSource, land_kafka
from pipelines.cdc.land import LandReport, land
from pipelines.contract import load_contracts
from pipelines.dbt_project import Project
from pipelines.errors import LakehouseError, UsageError
from pipelines.lake import lock
from pipelines.lake.duck import connect_warehouse
from pipelines.lake.ids import new_run_id, now
from pipelines.lake.publish import Manifest, publish, read_manifest
from pipelines.lake.storage import clear_about_storage
from pipelines.quality.gatekeeper import GateBlocked, Gatekeeper
from pipelines.quality.promises import translated
from pipelines.quality.suites import GATES
from pipelines.quality.warehouse import GATED
from pipelines.settings import EMBEDDED, Settings
from pipelines.transform import STAGING, Build, BuildReport, is_built

if TYPE_CHECKING:
    from pipelines.quality.results import GateReport

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
        call: how its steps are called.
        told: what its record shall tell if it ends well.
        seconds: how long each step took.
    """

    run_id: str
    call: Call = directly
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
    by: Caller = COMMAND_LINE,
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
    with recorded(settings, command, by) as recorder:
        landing = recorder.call(
            "land", lambda: land_new(settings, source, recorder.run_id, on_progress)
        )
        recorder.finished("land")
        recorder.told |= {"landed": landing.landed, "dead": landing.dead}
        manifest = None
        built = build_checked(settings, recorder, on_progress)
        if settings.target == EMBEDDED:
            manifest = publish_built(settings, built, recorder, on_progress)
    return RunReport(recorder.run_id, landing, built, manifest, recorder.seconds)


def rebuild(settings: Settings, command: str, by: Caller = COMMAND_LINE) -> BuildReport:
    """`run` without its landing: build what follows from what has landed, and publish it.

    Raises:
        As `run`.
    """
    targets.variables(settings)
    with recorded(settings, command, by) as recorder:
        built = build_checked(settings, recorder)
        if settings.target == EMBEDDED:
            publish_built(settings, built, recorder)
    return built


def land_alone(
    settings: Settings,
    source: Path | KafkaSource | None,
    by: Caller = COMMAND_LINE,
) -> LandReport:
    """Land what is new, and no more; others may land or build meanwhile.

    Raises:
        LakehouseError: as `run`.
    """
    run_id = by.run_id or new_run_id()
    with structlog.contextvars.bound_contextvars(run_id=run_id), clear_about_storage(settings):
        return by.call("land", lambda: land_new(settings, source, run_id))


def check_built(settings: Settings, command: str, by: Caller = COMMAND_LINE) -> list[GateReport]:
    """Hold the gates on what is built as it is, without building anything.

    Raises:
        UsageError: the target has no gates.
        LakehouseError: nothing is built yet.
        GateBlocked: a rule does not hold that must.
    """
    targets.variables(settings)
    if settings.target not in GATED:
        raise UsageError(f"there are no gates on {settings.target}", "its tests are run by dbt")
    if not is_built(settings):
        raise LakehouseError(
            f"nothing is built in {settings.home} yet", "begin with `lakehouse run`"
        )
    with recorded(settings, command, by) as recorder:
        keeper = Gatekeeper(settings, Project(settings).manifest, recorder.run_id)
        for gate in GATES:
            recorder.call(f"gate-{gate}", partial(keeper.check, gate))
        keeper.write_docs()
    return keeper.reports


@contextmanager
def recorded(settings: Settings, command: str, by: Caller = COMMAND_LINE) -> Iterator[Recorder]:
    """Hold the lake for a run, and leave a record of it, whether it ends well or not.

    Raises:
        Busy: another run holds this lake.
    """
    run_id = by.run_id or new_run_id()
    structlog.contextvars.bind_contextvars(run_id=run_id)
    record: dict[str, Any] = {"run_id": run_id, "command": command, "started_at": str(now())}
    recorder = Recorder(run_id, by.call)
    with ExitStack() as held:
        by.call("hold", lambda: held.enter_context(lock.exclusive(settings.state, command)))
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
            structlog.contextvars.unbind_contextvars("run_id")


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
        if not build.report.skipped:
            recorder.call("build", build.make)
            build.accept()
        recorder.finished("build")
        return build.report
    keeper = Gatekeeper(settings, build.project.manifest, recorder.run_id)
    is_rule = translated(build.project.manifest)
    recorder.call("stage", lambda: build.make("--select", STAGING, "--exclude", *is_rule))
    recorder.finished("stage")
    on_progress("gate", "staging")
    recorder.call("gate-staging", lambda: keeper.check("staging"))
    recorder.finished("gate")
    # Cautious: a test that compares marts with staging is one of the marts.
    of_marts = ("--indirect-selection", "cautious", "--exclude", STAGING, *is_rule)
    recorder.call("build", lambda: build.make(*of_marts))
    recorder.finished("build")
    on_progress("gate", "marts")
    recorder.call("gate-marts", lambda: keeper.check("marts"))
    keeper.write_docs()
    build.report.gates = keeper.reports
    build.accept()
    recorder.finished("gate")
    return build.report


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
    former = read_manifest(settings.published)
    if former is not None and former.build_id == built.build_id:
        recorder.finished("publish")
        return former
    on_progress("publish", f"{len(built.sources)} tables")
    manifest = recorder.call("publish", lambda: _publish(settings, built, recorder.run_id))
    recorder.finished("publish")
    return manifest


def _publish(settings: Settings, built: BuildReport, run_id: str) -> Manifest:
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
