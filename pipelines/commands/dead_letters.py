"""The commands `lakehouse dead-letters …`: look at what could not land, repair it or give it up."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table as RichTable

from pipelines.cdc import dead_letters, replay
from pipelines.cdc.dead_letters import Choice
from pipelines.cdc.masking import load_masker
from pipelines.commands.options import Json
from pipelines.contract import load_contracts
from pipelines.errors import LakehouseError, UsageError
from pipelines.lake.ids import new_run_id
from pipelines.lake.storage import clear_about_storage
from pipelines.settings import Settings
from pipelines.terminal import err, out, print_json

app = typer.Typer(help="Messages that could not land.", no_args_is_help=True)

Ids = Annotated[list[str] | None, typer.Argument(help="Ids of letters, or how they begin.")]
Id = Annotated[str, typer.Argument(help="Id of a letter, or how it begins.")]
Topic = Annotated[str | None, typer.Option(help="Only letters of this topic.")]
Reason = Annotated[str | None, typer.Option(help="Only letters with this reason code.")]
Since = Annotated[
    datetime | None, typer.Option(help="Only letters that came at this time (UTC) or later.")
]


@app.command("list")
def show_list(
    context: typer.Context,
    topic: Topic = None,
    reason: Reason = None,
    since: Since = None,
    resolved_too: Annotated[
        bool, typer.Option("--all", help="Also those replayed or dropped.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List open letters, the newest last."""
    settings: Settings = context.obj
    choice = _choice(None, topic, reason, since, resolved_too=resolved_too)
    found = dead_letters.find(settings.raw, choice)
    shown = found.slice(max(0, len(found) - limit)).to_pylist()
    if as_json:
        print_json(shown)
        return
    table = RichTable("id", "topic", "part.", "offset", "line", "reason", "state")
    for letter in shown:
        place = ("" if letter[n] is None else str(letter[n]) for n in ("partition", "offset"))
        line = f"{Path(letter['source_file']).name}:{letter['line_number']}"
        table.add_row(
            letter["letter_id"][:12], letter["topic"], *place, line,
            f"{letter['reason_code']}: {letter['reason']}"
            if letter["reason"] != letter["reason_code"] else letter["reason_code"],
            letter["state"],
        )  # fmt: skip
    out.print(table)
    if len(found) > limit:
        out.print(f"{len(found):,} in all; see more with --limit", highlight=False)


@app.command()
def show(
    context: typer.Context,
    letter: Id,
    raw: Annotated[
        bool, typer.Option("--raw", help="Print the original line alone, byte for byte.")
    ] = False,
) -> None:
    """Show one letter with its original line, which may hold personal data."""
    settings: Settings = context.obj
    found = _one(settings, letter)
    line = load_masker(settings, create=False).unseal(found.pop("sealed_line"))
    err.print("[yellow]![/] the line may hold personal data: do not pass it on", highlight=False)
    if raw:
        sys.stdout.buffer.write(line + b"\n")
        return
    width = max(map(len, found))
    for name, value in found.items():
        if value is not None:
            out.print(f"{name:<{width}}  {value}", markup=False, highlight=False, soft_wrap=True)
    text = line.decode("utf-8", errors="backslashreplace")
    out.print(f"{'line':<{width}}  {text}", markup=False, highlight=False, soft_wrap=True)


@app.command("replay")
def replay_letters(
    context: typer.Context,
    letters: Ids = None,
    topic: Topic = None,
    reason: Reason = None,
    since: Since = None,
    line_file: Annotated[
        Path | None,
        typer.Option(help="A file with one repaired line, to take the place of the letter named."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge open letters by the contracts of today; what is good lands at its own place."""
    settings: Settings = context.obj
    repaired = None
    if line_file is not None:
        if len(letters or ()) != 1:
            raise UsageError(
                "a repaired line takes the place of one letter",
                "name it: lakehouse dead-letters replay ID --line-file FILE",
            )
        repaired = _read(line_file)
    choice = _choice(letters, topic, reason, since)
    with err.status("Replaying …"), clear_about_storage(settings):
        contracts = load_contracts(settings.project_dir)
        report = replay.replay(settings, contracts, choice, new_run_id(), repaired)
    if as_json:
        print_json(asdict(report))
        return
    told = ", ".join(f"{count:,} {what}" for what, count in report.counts.items()) or "none"
    err.print(f"[green]✓[/] replayed: {told}", highlight=False)
    if report.still_dead:
        err.print(
            f"[yellow]![/] {len(report.still_dead):,} are still bad, for example: "
            f"{next(iter(report.still_dead.values()))}",
            highlight=False,
        )
    if report.placeless:
        err.print(
            f"[yellow]![/] {len(report.placeless):,} told no coordinates: drop them, or give a "
            "repaired line that has some: lakehouse dead-letters replay ID --line-file FILE",
            highlight=False,
        )
    if report.uncounted:
        err.print(
            f"[yellow]![/] {len(report.uncounted):,} are of a landing that was cut off: land their "
            "file again first",
            highlight=False,
        )


@app.command()
def drop(
    context: typer.Context,
    because: Annotated[str, typer.Option(help="Why; kept with the mark.")],
    letters: Ids = None,
    topic: Topic = None,
    reason: Reason = None,
    since: Since = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Give up open letters for good: they are marked, stay counted as dead, and never land."""
    settings: Settings = context.obj
    choice = _choice(letters, topic, reason, since)
    if choice == Choice():
        raise UsageError(
            "dropping needs a choice of letters", "name ids, or give --topic, --reason or --since"
        )
    if not because.strip():
        raise UsageError("--because is empty", "say in a few words why these letters are given up")
    count = len(dead_letters.find(settings.raw, choice))
    if count and not yes and not typer.confirm(f"Drop {count:,} dead letters for good?", err=True):
        raise typer.Exit(1)
    with clear_about_storage(settings):
        contracts = load_contracts(settings.project_dir)
        dropped = replay.drop(settings, contracts, choice, because, new_run_id()) if count else 0
    err.print(f"[green]✓[/] dropped: {dropped:,}", highlight=False)


def _choice(
    letters: list[str] | None,
    topic: str | None,
    reason: str | None,
    since: datetime | None,
    *,
    resolved_too: bool = False,
) -> Choice:
    at = since.replace(tzinfo=UTC) if since else None
    return Choice(tuple(letters or ()), topic, reason, at, resolved_too)


def _one(settings: Settings, letter: str) -> dict[str, Any]:
    choice = Choice(ids=(letter,), resolved_too=True)
    found = dead_letters.find(settings.raw, choice, with_lines=True)
    row: dict[str, Any] = found.to_pylist()[0]
    return row


def _read(line_file: Path) -> bytes:
    try:
        return line_file.read_bytes()
    except OSError as error:
        raise LakehouseError(
            f"{line_file} cannot be read: {error.strerror}", "name a readable file"
        ) from None
