"""The command line: `lakehouse`. Exit code 0 good, 1 failed, 2 bad usage."""

from __future__ import annotations

import csv
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from threading import Event
from typing import Annotated, Any

import duckdb
import typer
from rich.markup import escape
from rich.table import Table as RichTable

from pipelines import (
    backfill_cli,
    chain,
    contract_cli,
    doctor,
    letters_cli,
    logs,
    maintain_cli,
    resnapshot_cli,
    status,
)
from pipelines.cdc.decode import DISPOSITIONS
from pipelines.cdc.kafka import GROUP, KafkaSource
from pipelines.cdc.kafka_cluster import read_properties
from pipelines.cdc.land import LandReport
from pipelines.cdc.metrics import served
from pipelines.contract import load_contracts
from pipelines.demo import summary
from pipelines.demo.shop import capture
from pipelines.errors import LakehouseError, UsageError
from pipelines.lake import lock
from pipelines.lake.catalog import only_reads, reader
from pipelines.lake.disk import clear_about_disk
from pipelines.lake.ids import new_id
from pipelines.settings import Settings, load_settings
from pipelines.terminal import err, out, print_json

app = typer.Typer(
    help="Change events in, tested marts out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
shop_app = typer.Typer(help="The demo shop: real purchases as change events.", no_args_is_help=True)
app.add_typer(shop_app, name="shop")
app.add_typer(letters_cli.app, name="dead-letters")
app.add_typer(contract_cli.app, name="contract")
app.command()(maintain_cli.maintain)
app.command()(backfill_cli.backfill)
app.command()(resnapshot_cli.resnapshot)

Clients = Annotated[
    str, typer.Option(help="How many households of the 2,469 shop: a number, or all.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 if there are dead letters.")]
Source = Annotated[
    Path | None, typer.Option("--from", help="Folder of capture files: <topic>/*.jsonl[.gz|.zst].")
]
Kafka = Annotated[
    str | None, typer.Option("--kafka", metavar="BOOTSTRAP", help="Land from Kafka: host:port,…")
]
Topics = Annotated[
    str | None,
    typer.Option(metavar="RE", help="Whole topic names; default those of the contracts' servers."),
]
KafkaConfig = Annotated[
    Path | None,
    typer.Option(
        envvar="LAKEHOUSE_KAFKA_CONFIG",
        help="File of librdkafka properties, one name=value a line.",
    ),
]
AcceptGap = Annotated[
    bool, typer.Option("--accept-gap", help="Go on behind messages that expired in Kafka unread.")
]


class Format(StrEnum):
    """How `sql` prints its answer."""

    table = "table"
    csv = "csv"
    json = "json"


@app.callback()
def options(
    context: typer.Context,
    home: Annotated[
        Path | None, typer.Option(help="The lake's folder (LAKEHOUSE_HOME; default ./lake).")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Engine (LAKEHOUSE_TARGET; default embedded).")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the trace of an error.")] = False,
) -> None:
    """Global options stand before the command."""
    context.obj = load_settings(home, target)


@app.command()
def demo(context: typer.Context, clients: Clients = "500") -> None:
    """Make the demo shop's events, run the whole chain on them and show the result."""
    settings: Settings = context.obj
    count = _clients(clients)
    with (
        err.status("The shop writes its change events …"),
        lock.exclusive(settings.state, "lakehouse demo"),
        clear_about_disk(settings.home),
    ):
        captured = capture(settings.inbox, clients=count)
    err.print(f"[green]✓[/] shop     {captured.events:,} change events in {settings.inbox}")
    report = _run(settings, None, "lakehouse demo")
    with reader(settings, load_contracts(settings.project_dir)) as connection:
        summary.show(connection, report.manifest, out, program=_program())


@shop_app.command("capture")
def shop_capture(
    to: Annotated[Path, typer.Option(help="Folder to write to.")],
    clients: Clients = "500",
    start: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First day (UTC), included."),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day (UTC), excluded.")
    ] = None,
) -> None:
    """Write capture files: a slice of one deterministic log; slices join without a seam."""
    report = capture(
        to,
        clients=_clients(clients),
        start=start.date() if start else None,
        until=until.date() if until else None,
    )
    table = RichTable("table", "events", title=f"{report.events:,} events in {to}")
    for name, events in report.events_by_table.items():
        table.add_row(name, f"{events:,}")
    out.print(table)


@app.command()
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
                stack.enter_context(_set_by_signals(stream.stop))
            if metrics_port is not None:
                stack.enter_context(served(stream.metrics, metrics_host, metrics_port))
        stack.enter_context(err.status("Following …" if follow else "Landing …"))
        stack.enter_context(clear_about_disk(settings.home))
        report = chain.land_new(settings, stream or source, new_id())
    _print_landing(report, as_json)
    _judge_dead_letters(report, strict)


@app.command()
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
    """Run the whole chain once: land, build, publish."""
    settings: Settings = context.obj
    stream = _kafka_source(settings, source, kafka, topics, kafka_config, accept_gap)
    report = _run(settings, stream or source, "lakehouse run")
    if as_json:
        print_json(
            {
                "run_id": report.run_id,
                "landed": report.landing.landed,
                "dead": report.landing.dead,
                "replayed": report.landing.replayed,
                "built": not report.build.skipped,
                "published": {n: t.version for n, t in report.manifest.tables.items()},
                "seconds": report.seconds,
            }
        )
    _judge_dead_letters(report.landing, strict)


@app.command()
def sql(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="One SQL query (DuckDB dialect).")],
    output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.table,
    wait: Annotated[
        bool, typer.Option("--wait", help="If a run is on, wait for it before reading staging.")
    ] = False,
) -> None:
    """Query the lake: marts as last published, raw, and (between runs) staging."""
    settings: Settings = context.obj
    contracts = load_contracts(settings.project_dir)
    try:
        with reader(settings, contracts, query, 3600.0 if wait else 0.0) as connection:
            only_reads(connection, query)
            answer = connection.execute(query)
            names = [column[0] for column in answer.description or []]
            rows = answer.fetchall()
    except duckdb.Error as error:
        raise LakehouseError(
            f"the query failed: {error}",
            'list what there is with: lakehouse sql "show all tables"',
        ) from None
    _print_rows(names, rows, output)


@app.command("status")
def show_status(context: typer.Context, as_json: Json = False) -> None:
    """Tables, freshness, last runs, dead letters and published versions."""
    found = status.collect(context.obj)
    if as_json:
        print_json(asdict(found))
    else:
        status.show(found, out)


@app.command("doctor")
def run_doctor(context: typer.Context, as_json: Json = False) -> None:
    """Check the set-up; each finding comes with its remedy."""
    findings = doctor.examine(context.obj)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = "[green]✓[/]" if finding.ok else "[red]✗[/]"
            remedy = f"\n  → {finding.remedy}" if finding.remedy else ""
            out.print(f"{mark} {finding.check}: {finding.detail}{remedy}", highlight=False)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _program() -> str:
    """How this program was called, so that a shown command can be copied as it is."""
    called = Path(sys.argv[0])
    if not called.is_relative_to(Path.cwd()):
        return str(called) if len(called.parts) > 1 and called.name == "lakehouse" else "lakehouse"
    return str(called.relative_to(Path.cwd()))


def _clients(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal():
        raise UsageError(f"--clients {text} is no number", "give a number from 1 to 2469, or all")
    return int(text)


def _kafka_source(
    settings: Settings,
    folder: Path | None,
    bootstrap: str | None,
    topics: str | None,
    config: Path | None,
    accept_gap: bool,
) -> KafkaSource | None:
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
def _set_by_signals(stop: Event) -> Iterator[None]:
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


def _run(settings: Settings, source: Path | KafkaSource | None, command: str) -> chain.RunReport:
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
    what = "nothing new" if built.skipped else f"{built.models} models, {built.tests} tests passed"
    err.print(f"[green]✓[/] build    {what} ({seconds['build']:.1f} s)", highlight=False)
    for warning in built.warnings:
        err.print(f"[yellow]![/] {warning}", highlight=False)
    fresh = sum(table.run_id == report.run_id for table in report.manifest.tables.values())
    err.print(
        f"[green]✓[/] publish  {fresh} of {len(report.manifest.tables)} tables rewritten "
        f"({seconds['publish']:.1f} s)",
        highlight=False,
    )
    for topic in landing.topics.values():
        if topic.waiting_bytes:
            err.print(f"[yellow]![/] {topic.topic}: an unfinished last line waits for its rest")
    return report


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


def _print_landing(report: LandReport, as_json: bool) -> None:
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
    table = RichTable("topic", "landed", "already landed", "tombstones", "dead letters")
    for topic in report.topics.values():
        numbers = (topic.landed, topic.replayed, topic.counts["tombstone"], topic.dead)
        table.add_row(topic.topic, *(f"{number:,}" for number in numbers))
    out.print(table)


def _print_rows(names: list[str], rows: list[tuple[Any, ...]], output: Format) -> None:
    if output is Format.json:
        print_json([dict(zip(names, map(_plain, row), strict=True)) for row in rows])
    elif output is Format.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([["" if v is None else _plain(v) for v in row] for row in rows])
    else:
        _print_table(names, [["" if v is None else str(_plain(v)) for v in row] for row in rows])
        out.print(f"{len(rows):,} row{'' if len(rows) == 1 else 's'}", highlight=False)


def _print_table(names: list[str], rows: list[list[str]]) -> None:
    """A table where it fits; else each row as lines of `name  value`, so that nothing is cut."""
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    if sum(widths) + 3 * len(widths) + 1 <= out.width:
        table = RichTable(*names)
        for row in rows:
            table.add_row(*row)
        out.print(table)
        return
    label = max(map(len, names))
    for number, row in enumerate(rows, start=1):
        out.rule(f"row {number:,}", align="left")
        for name, value in zip(names, row, strict=True):
            out.print(f"{name:<{label}}  {value}", markup=False, highlight=False, soft_wrap=True)


def _plain(value: Any) -> Any:
    """Decimals and times as text: JSON has neither."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value


def main() -> None:
    """Entry point: turns errors that a person can act on into two lines and an exit code."""
    debug = "--debug" in sys.argv
    try:
        logs.configure(sys.argv)
        app()
    except LakehouseError as error:
        if debug:
            raise
        # What stands in brackets, as in package[extra], is no markup.
        cause, remedy = escape(error.cause), escape(error.remedy)
        err.print(f"[bold red]error:[/] {cause}", highlight=False, soft_wrap=True)
        err.print(f"[bold]remedy:[/] {remedy}", highlight=False, soft_wrap=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)


if __name__ == "__main__":
    main()
