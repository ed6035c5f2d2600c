"""The command `lakehouse publish`: which publications there are, and the way back to one."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table as RichTable

from pipelines.commands.options import Json
from pipelines.errors import UsageError
from pipelines.lake import lock
from pipelines.lake.publish import Manifest, former_manifests, read_manifest, release, roll_back
from pipelines.lake.publish_on_trino import (
    publications_on_trino,
    release_on_trino,
    roll_back_on_trino,
)
from pipelines.quality.warehouse import GATED
from pipelines.settings import EMBEDDED, Settings
from pipelines.terminal import out, print_json

_COMMAND = "lakehouse publish"


def publish(
    context: typer.Context,
    rollback: Annotated[
        int | None,
        typer.Option(metavar="VERSION", help="Move readers back to this publication and stay."),
    ] = None,
    latest: Annotated[
        bool, typer.Option("--latest", help="End a rollback: the next run publishes again.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List what was published; --rollback moves readers back, --latest lets runs publish again."""
    settings: Settings = context.obj
    if settings.target not in GATED:
        raise UsageError(
            f"on {settings.target} nothing is published: its tables are what readers see",
            "leave --target out, or name trino",
        )
    if rollback is not None and latest:
        raise UsageError("--rollback and --latest were both given", "give one of them")
    is_embedded = settings.target == EMBEDDED
    if rollback is not None:
        with lock.exclusive(settings.state, _COMMAND):
            if is_embedded:
                found = roll_back(settings.published, rollback)
            else:
                found = roll_back_on_trino(settings, rollback)
        out.print(
            f"Readers see publication {rollback} of {found.published_at}, business date "
            f"{found.business_date}. Runs publish nothing until `lakehouse publish --latest`.",
            highlight=False,
        )
    elif latest:
        with lock.exclusive(settings.state, _COMMAND):
            if is_embedded:
                release(settings.published)
            else:
                release_on_trino(settings)
        out.print("The next `lakehouse run` publishes again.")
    else:
        _list(settings, as_json)


def _list(settings: Settings, as_json: bool) -> None:
    if settings.target == EMBEDDED:
        shown = read_manifest(settings.published)
        found = [(manifest.version, manifest) for manifest in former_manifests(settings.published)]
    else:
        found = publications_on_trino(settings)
        shown = found[0][1] if found else None
    rows = [
        {
            "version": version,
            "published_at": manifest.published_at,
            "business_date": manifest.business_date,
            "run_id": manifest.run_id,
            "tables": len(manifest.tables),
            "is_shown": _is_shown(manifest, shown),
            "is_held": _is_shown(manifest, shown) and shown is not None and shown.is_held,
        }
        for version, manifest in found
    ]
    if as_json:
        print_json(rows)
        return
    table = RichTable("publication", "published at", "business date", "run", "tables", "")
    for row in rows:
        state = "held" if row["is_held"] else "shown" if row["is_shown"] else ""
        table.add_row(
            str(row["version"]), str(row["published_at"])[:19], str(row["business_date"]),
            str(row["run_id"]), str(row["tables"]), state,
        )  # fmt: skip
    out.print(table if rows else "nothing is published yet")


def _is_shown(manifest: Manifest, shown: Manifest | None) -> bool:
    return shown is not None and manifest.run_id == shown.run_id
