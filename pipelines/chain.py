"""The chain: land, stage, gate, build, gate, publish. Plain functions, composed here alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import structlog

from pipelines import targets
from pipelines.caller import COMMAND_LINE, Caller
from pipelines.cdc.kafka import KafkaSource, land_kafka
from pipelines.cdc.land import LandReport, land
from pipelines.contract import load_contracts
from pipelines.dbt_project import Project
from pipelines.errors import LakehouseError, UsageError
from pipelines.lake.duck import connect_warehouse
from pipelines.lake.ids import new_run_id, now
from pipelines.lake.publish import Manifest, publish
from pipelines.lake.publish_on_trino import publish_on_trino
from pipelines.lake.shown import shown
from pipelines.lake.storage import clear_about_storage
from pipelines.lineage.gates import checks
from pipelines.lineage.recording import Step as Told
from pipelines.lineage.recording import recording
from pipelines.quality.gatekeeper import Gatekeeper
from pipelines.quality.promises import models, translated
from pipelines.quality.suites import GATES, Gate, Suite, load_suites
from pipelines.quality.warehouse import GATED
from pipelines.records import Recorder, recorded
from pipelines.settings import EMBEDDED, Settings
from pipelines.transform import PREDICTIONS, STAGING, Build, BuildReport, is_built

if TYPE_CHECKING:
    from pipelines.quality.results import GateReport

Step = Literal["land", "mark", "stage", "build", "gate", "publish"]
Progress = Callable[[Step, str], None]
DOING: dict[Step, str] = {
    "land": "Landing", "mark": "Marking", "stage": "Staging", "build": "Building",
    "gate": "Checking", "publish": "Publishing",
}  # fmt: skip


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
    by: Caller = COMMAND_LINE,
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
    with (
        recorded(settings, command, by) as recorder,
        Gatekeeper(settings, recorder.run_id) as keeper,
    ):
        landing = _land(settings, source, recorder, on_progress)
        recorder.finished("land")
        recorder.told |= {"landed": landing.landed, "dead": landing.dead}
        manifest = None
        built = _build_checked(settings, recorder, keeper, on_progress)
        if settings.target in GATED and built.sources:
            manifest = publish_built(settings, built, recorder, on_progress)
    return RunReport(recorder.run_id, landing, built, manifest, recorder.seconds)


def rebuild(settings: Settings, command: str, by: Caller = COMMAND_LINE) -> BuildReport:
    """`run` without its landing: build what follows from what has landed, and publish it.

    Raises:
        LakehouseError: as `run`.
    """
    targets.variables(settings)
    with recorded(settings, command, by) as recorder:
        built = build_checked(settings, recorder)
        if settings.target in GATED and built.sources:
            publish_built(settings, built, recorder)
    return built


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
    with (
        recorded(settings, command, by) as recorder,
        Gatekeeper(settings, recorder.run_id) as keeper,
    ):
        keeper.prepare()
        suites = load_suites(settings.expectations_dir, models(Project(settings).manifest))
        for gate in GATES:
            recorder.step(f"gate-{gate}", partial(_pass_gate, keeper, suites, gate))
        keeper.write_docs()
    return keeper.reports


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
    with Gatekeeper(settings, recorder.run_id) as keeper:
        return _build_checked(settings, recorder, keeper, on_progress)


def _build_checked(
    settings: Settings, recorder: Recorder, keeper: Gatekeeper, on_progress: Progress
) -> BuildReport:
    build = Build(settings, on_node=lambda name: on_progress("build", name))
    if build.report.skipped or settings.target not in GATED:
        if not build.report.skipped:
            recorder.step("build", lambda told: build.make(on_results=told.built))
            build.accept()
        recorder.finished("build")
        return build.report
    # One core imports what checks while the other one reads the project.
    keeper.prepare()
    suites = load_suites(settings.expectations_dir, models(build.project.manifest))
    is_rule = translated(build.project.manifest)
    if build.only_predictions:
        suites = [suite for suite in suites if suite.model.layer == PREDICTIONS]
        inferred = ("--indirect-selection", "cautious", "--select", PREDICTIONS)
        excluded = ["--exclude", *is_rule] if is_rule else []
        recorder.step("build", lambda told: build.make(*inferred, *excluded, on_results=told.built))
        recorder.finished("build")
        return _judge_marts(build, recorder, keeper, suites, on_progress)
    staging = ("--select", STAGING, *(["--exclude", *is_rule] if is_rule else []))
    recorder.step("stage", lambda told: build.make(*staging, on_results=told.built))
    recorder.finished("stage")
    on_progress("gate", "staging")
    recorder.step("gate-staging", partial(_pass_gate, keeper, suites, "staging"))
    recorder.finished("gate")
    # Cautious: a test that compares marts with staging is one of the marts.
    rest = ("--indirect-selection", "cautious", "--exclude", STAGING, *is_rule)
    recorder.step("build", lambda told: build.make(*rest, on_results=told.built))
    recorder.finished("build")
    return _judge_marts(build, recorder, keeper, suites, on_progress)


def _judge_marts(
    build: Build,
    recorder: Recorder,
    keeper: Gatekeeper,
    suites: Sequence[Suite],
    on_progress: Progress,
) -> BuildReport:
    """Hold the last gate, and accept the build that passes."""
    on_progress("gate", "marts")
    recorder.step("gate-marts", partial(_pass_gate, keeper, suites, "marts"))
    keeper.write_docs()
    build.report.gates = keeper.reports
    build.accept()
    recorder.finished("gate")
    return build.report


def _pass_gate(keeper: Gatekeeper, suites: Sequence[Suite], gate: Gate, told: Told) -> GateReport:
    try:
        return keeper.check(gate, suites)
    finally:
        for report in keeper.reports:
            if report.gate == gate:
                told.checked(checks(report))


def land_alone(
    settings: Settings,
    source: Path | KafkaSource | None,
    command: str,
    by: Caller = COMMAND_LINE,
) -> LandReport:
    """Land what is new, as a run of its own; others may land or build meanwhile.

    Raises:
        LakehouseError: as `run`.
    """
    run_id = by.run_id or new_run_id()
    with (
        structlog.contextvars.bound_contextvars(run_id=run_id),
        recording(settings, run_id, command) as lineage,
        clear_about_storage(settings),
    ):
        return _land(settings, source, Recorder(run_id, lineage, by.call))


def _land(
    settings: Settings,
    source: Path | KafkaSource | None,
    recorder: Recorder,
    on_progress: Progress = lambda step, detail: None,
) -> LandReport:
    """Land as a step of a run."""

    def work(told: Told) -> LandReport:
        began, place = now(), source
        if isinstance(place, KafkaSource) and place.follow:
            # It may go on for days: each table is told of with its first batch.
            tell = partial(told.landed, source=place, began=began, goes_on=True)
            place = replace(place, on_batch=tell)
        landing = land_new(settings, place, recorder.run_id, on_progress)
        told.landed(landing, place, began)
        return landing

    return recorder.step("land", work)


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
    """Publish a build that passed its gates, unless readers see it, or are held at a former one."""
    former = shown(settings)
    if former is not None and (former.is_held or former.build_id == built.build_id):
        recorder.finished("publish")
        return former
    on_progress("publish", f"{len(built.sources)} tables")

    def work(told: Told) -> Manifest:
        manifest = _publish(settings, built, recorder.run_id)
        told.published(manifest)
        return manifest

    manifest = recorder.step("publish", work)
    recorder.finished("publish")
    return manifest


def _publish(settings: Settings, built: BuildReport, run_id: str) -> Manifest:
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
