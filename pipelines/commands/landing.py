"""The commands `lakehouse land` and `lakehouse run`, which take the same sources."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table as RichTable

from pipelines import chain
from pipelines.cdc.decode import DISPOSITIONS, ROUTED
from pipelines.cdc.kafka import GROUP, KafkaSource
from pipelines.cdc.kafka_cluster import read_properties
from pipelines.cdc.land import LandReport
from pipelines.cdc.metrics import served
from pipelines.commands.options import (
    AcceptGap,
    Json,
    Kafka,
    KafkaConfig,
    Source,
    Strict,
    Topics,
)
from pipelines.errors import UsageError
from pipelines.lineage.store import folder as lineage_folder
from pipelines.quality.gatekeeper import docs_folder
from pipelines.settings import EMBEDDED, Settings
from pipelines.terminal import err, out, print_json

if TYPE_CHECKING:
    from pipelines.quality.results import GateReport


def land(
    context: typer.Context,
    source: Source = None,
    kafka: Kafka = None,
    topics: Topics = None,
    kafka_config: KafkaConfig = None,
    accept_gap: AcceptGap = False,
    follow: Annotated[
        bool,
        typer.Option("--follow/--until-now", help="Go on until SIGTERM, or land what is there."),
    ] = False,
    group: Annotated[str, typer.Option(help="Consumer group of those who follow.")] = GROUP,
    batch_rows: Annotated[
        int, typer.Option(min=1, help="Messages of a batch.")
    ] = KafkaSource.batch_rows,
    batch_bytes: Annotated[
        int, typer.Option(min=1, help="Bytes of a batch.")
    ] = KafkaSource.batch_bytes,
    batch_seconds: Annotated[
        float, typer.Option(min=0.1, help="Seconds until a batch lands, full or not.")
    ] = KafkaSource.batch_seconds,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve /metrics for Prometheus there.")
    ] = None,
    metrics_host: Annotated[str, typer.Option(help="Address of --metrics-port.")] = "127.0.0.1",
    as_json: Json = False,
    strict: Strict = False,
) -> None:
    """Land what is new of a capture folder, or of Kafka, into the raw tables."""
    settings: Settings = context.obj
    stream = _kafka_source(settings, source, kafka, topics, kafka_config, accept_gap)
    if stream is None and (follow or metrics_port is not None):
        option = "--follow" if follow else "--metrics-port"
        raise UsageError(f"{option} is for Kafka", "add --kafka BOOTSTRAP, or leave it out")
    if source is not None and not any(source.glob("*/*.jsonl*")) and source.is_dir():
        raise UsageError(
            f"{source} holds no capture file",
            "put files at <topic>/*.jsonl[.gz|.zst]; `lakehouse shop capture --to DIR` makes some",
        )
    with ExitStack() as stack:
        if stream is not None:
            stream = replace(
                stream, follow=follow, group=group, batch_rows=batch_rows, batch_bytes=batch_bytes,
                batch_seconds=batch_seconds,
            )  # fmt: skip
            if follow:
                stack.enter_context(set_by_signals(stream.stop))
            if metrics_port is not None:
                stack.enter_context(served(stream.metrics, metrics_host, metrics_port))
        stack.enter_context(err.status("Following …" if follow else "Landing …"))
        report = chain.land_alone(settings, stream or source, "lakehouse land")
    print_landing(report, as_json)
    _judge_dead_letters(report, strict)


def run(
    context: typer.Context,
    source: Source = None,
    kafka: Kafka = None,
    topics: Topics = None,
    kafka_config: KafkaConfig = None,
    accept_gap: AcceptGap = False,
    as_json: Json = False,
    strict: Strict = False,
) -> None:
    """Run the whole chain once: land, build, publish; with --target trino or spark, build there."""
    settings: Settings = context.obj
    stream = _kafka_source(settings, source, kafka, topics, kafka_config, accept_gap)
    report = run_chain(settings, stream or source, "lakehouse run")
    if as_json:
        published = report.manifest.tables if report.manifest else {}
        print_json(
            {
                "run_id": report.run_id,
                "landed": report.landing.landed,
                "dead": report.landing.dead,
                "replayed": report.landing.replayed,
                "built": not report.build.skipped,
                "published": {name: table.version for name, table in published.items()},
                "seconds": report.seconds,
            }
        )
    _judge_dead_letters(report.landing, strict)


def _kafka_source(
    settings: Settings,
    folder: Path | None,
    bootstrap: str | None,
    topics: str | None,
    config: Path | None,
    accept_gap: bool,
) -> KafkaSource | None:
    if bootstrap is None and folder is None:
        bootstrap = settings.kafka
    if bootstrap is None:
        for name, given in (("--topics", topics is not None), ("--accept-gap", accept_gap)):
            if given:
                raise UsageError(f"{name} is for Kafka", "add --kafka BOOTSTRAP, or leave it out")
        return None
    if folder is not None:
        raise UsageError("--from and --kafka were both given", "land from one of them at a time")
    file = config or settings.kafka_config
    properties = read_properties(file) if file else {}
    return KafkaSource(bootstrap, topics, properties, accept_gap=accept_gap)


@contextmanager
def set_by_signals(stop: Event) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM set the event; a second one acts as ever."""
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    def ask_to_stop(number: int, frame: object) -> None:
        stop.set()
        restore()

    for number in former:
        signal.signal(number, ask_to_stop)
    try:
        yield
    finally:
        restore()


def run_chain(
    settings: Settings, source: Path | KafkaSource | None, command: str
) -> chain.RunReport:
    with err.status("Starting …") as spinner:
        report = chain.run(
            settings,
            source,
            command=command,
            on_progress=lambda step, detail: spinner.update(f"{chain.DOING[step]} {detail} …"),
        )
    landing, built, seconds = report.landing, report.build, report.seconds
    dead = f"[red]{landing.dead:,} dead letters[/], " if landing.dead else ""
    err.print(
        f"[green]✓[/] land     {landing.landed:,} new, {dead}{landing.replayed:,} already landed "
        f"({seconds['land']:.1f} s)",
        highlight=False,
    )
    where = "" if settings.target == EMBEDDED else f" on {settings.target}"
    if built.skipped:
        err.print(f"[green]✓[/] build    nothing new{where} ({seconds['build']:.1f} s)")
    else:
        spent = seconds.get("stage", 0.0) + seconds["build"]
        what = f"{built.models} models, {built.tests} tests passed"
        err.print(f"[green]✓[/] build    {what}{where} ({spent:.1f} s)", highlight=False)
    for warning in built.warnings:
        err.print(f"[yellow]![/] {warning}", highlight=False)
    if built.gates:
        _print_gates(built.gates, settings, seconds["gate"])
    if report.manifest is not None and report.manifest.is_held:
        err.print(
            "[yellow]![/] publish  readers are held at a former publication: "
            "`lakehouse publish --latest` ends that"
        )
    elif report.manifest is not None:
        tables = report.manifest.tables.values()
        fresh = sum(table.run_id == report.run_id for table in tables)
        err.print(
            f"[green]✓[/] publish  {fresh} of {len(tables)} tables rewritten "
            f"({seconds['publish']:.1f} s)",
            highlight=False,
        )
    err.print(f"[green]✓[/] lineage  {lineage_folder(settings)}", highlight=False, soft_wrap=True)
    for topic in landing.topics.values():
        if topic.waiting_bytes:
            err.print(f"[yellow]![/] {topic.topic}: an unfinished last line waits for its rest")
    return report


def _print_gates(gates: list[GateReport], settings: Settings, seconds: float) -> None:
    results = [result for gate in gates for result in gate.results]
    tables = {result.table for result in results}
    warnings = [result for gate in gates for result in gate.warnings]
    found = f", {len(warnings)} warnings" if warnings else ""
    err.print(
        f"[green]✓[/] gates    {len(results)} rules on {len(tables)} tables{found} "
        f"({seconds:.1f} s): {docs_folder(settings) / 'index.html'}",
        highlight=False,
        soft_wrap=True,
    )
    for result in warnings:
        told = result.observed if result.failed is None else f"{result.failed:,} rows"
        err.print(f"[yellow]![/] {result.table}: {result.rule.name}: {told}", highlight=False)


def _judge_dead_letters(report: LandReport, strict: bool) -> None:
    if not report.dead:
        return
    reasons: Counter[str] = Counter()
    for topic in report.topics.values():
        reasons.update(topic.reasons)
    told = ", ".join(f"{code} {count:,}" for code, count in reasons.most_common())
    err.print(
        f"[yellow]![/] {report.dead:,} dead letters ({told}); see lakehouse dead-letters list",
        highlight=False,
    )
    if strict:
        raise typer.Exit(1)


def print_landing(report: LandReport, as_json: bool) -> None:
    """Print what a landing did, by topic."""
    if as_json:
        print_json(
            {
                topic.topic: {
                    **{name: topic.counts[name] for name in DISPOSITIONS},
                    "replayed": topic.replayed,
                    "reasons": topic.reasons,
                    "waiting_bytes": topic.waiting_bytes,
                }
                for topic in report.topics.values()
            }
        )
        return
    has_routed = any(topic.counts[ROUTED] for topic in report.topics.values())
    table = RichTable(
        "topic", "landed", *(["routed"] if has_routed else []), "already landed", "tombstones",
        "dead letters",
    )  # fmt: skip
    for topic in report.topics.values():
        routed = [topic.counts[ROUTED]] if has_routed else []
        numbers = (topic.landed, *routed, topic.replayed, topic.counts["tombstone"], topic.dead)
        table.add_row(topic.topic, *(f"{number:,}" for number in numbers))
    out.print(table)
