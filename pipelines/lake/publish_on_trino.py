"""Publication on Trino: views show the versions of tables that have passed their gates.

dbt builds what readers are to see in schemas of their own (`marts_audit`). A view over each table,
pinned to a version, is what readers have in `marts`; publishing moves the views, one by one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import structlog

from pipelines.errors import LakehouseError
from pipelines.lake.ids import now
from pipelines.lake.publish import RECORD, Manifest, Published, Source
from pipelines.lake.sql import literal
from pipelines.lake.trino import Asked, asker
from pipelines.settings import Settings

log = structlog.get_logger()

# As the macro `generate_schema_name` has it.
AUDIT = "_audit"
_SECONDS = 60.0
# Each column of `marts._publication`, of the texts and numbers of a VALUES.
_COLUMNS = {
    "table_name": "cast(table_name as varchar)",
    "version": "cast(version as bigint)",
    "row_count": "cast(row_count as bigint)",
    "run_id": "cast(run_id as varchar)",
    "published_in_run": "cast(published_in_run as varchar)",
    "published_at": "from_iso8601_timestamp(published_at)",
    "business_date": "cast(business_date as varchar)",
    "build_id": "cast(build_id as varchar)",
    "is_held": "is_held",
}


def publish_on_trino(
    settings: Settings, sources: Sequence[Source], *, run_id: str, build_id: str
) -> Manifest:
    """Show readers what has been built.

    Each view moves at once; a reader of several may meet two builds for a moment, and
    `marts._publication` names the run of each. A crash amid it is made up for by a repetition.

    Args:
        sources: tables that were built, in their audit schemas.

    Raises:
        LakehouseError: Trino refuses or does not answer.
    """
    ask, prefix = asker(settings, _SECONDS), settings.schema_prefix
    former = _read(ask, prefix)
    ((dated,),) = ask(
        f"select cast(max(business_date) as varchar) from {prefix}intermediate.int_business_date"
    )
    manifest = Manifest(run_id, build_id, now().isoformat(), dated)
    shown = former.tables if former else {}
    for source in sources:
        schema = source.schema.removesuffix(AUDIT)
        name = f"{schema}.{source.name}"
        ((version,),) = ask(f'select max(version) from {source.schema}."{source.name}$history"')
        before = shown.get(name)
        if before is not None and before.version == version:
            manifest.tables[name] = before
            continue
        ((rows,),) = ask(f"select count(*) from {source.full_name} for version as of {version}")
        ask(f"create schema if not exists {schema}")
        _show(ask, name, version)
        log.info("table published", table=name, version=version, rows=rows)
        manifest.tables[name] = Published(source.full_name, version, rows, run_id, [], {})
    for name in shown.keys() - manifest.tables.keys():
        ask(f"drop view if exists {name}")
    _write(ask, prefix, manifest)
    return manifest


def roll_back_on_trino(settings: Settings, version: int) -> Manifest:
    """Move readers back to a former publication, and hold it: runs publish nothing meanwhile.

    Args:
        version: of the table `marts._publication`.

    Raises:
        LakehouseError: Trino has no such version, refuses or does not answer.
    """
    ask, prefix = asker(settings, _SECONDS), settings.schema_prefix
    manifest, now_shown = _read(ask, prefix, version), _read(ask, prefix)
    if manifest is None or now_shown is None:
        raise LakehouseError(
            "nothing is published on Trino yet", "run `lakehouse --target trino run` first"
        )
    for name, table in manifest.tables.items():
        schema, _, view = name.partition(".")
        # Before any view moves: files of an old version may be gone.
        ask(f"select count(*) from {schema}{AUDIT}.{view} for version as of {table.version}")
    for name, table in manifest.tables.items():
        _show(ask, name, table.version)
    for name in now_shown.tables.keys() - manifest.tables.keys():
        ask(f"drop view if exists {name}")
    held = replace(manifest, is_held=True)
    _write(ask, prefix, held)
    return held


def release_on_trino(settings: Settings) -> None:
    """Let the next run publish again; readers stay where they are until then."""
    ask, prefix = asker(settings, _SECONDS), settings.schema_prefix
    manifest = _read(ask, prefix)
    if manifest is not None and manifest.is_held:
        _write(ask, prefix, replace(manifest, is_held=False))


def shown_on_trino(settings: Settings) -> Manifest | None:
    """What readers see now, None before the first publication."""
    return _read(asker(settings, _SECONDS), settings.schema_prefix)


def location_on_trino(settings: Settings, name: str) -> str:
    """Where the Delta table lies of which readers see a version.

    Args:
        name: of the view that they see.

    Raises:
        LakehouseError: Trino refuses or does not answer, or tells no place.
    """
    schema, _, view = name.partition(".")
    ((told,),) = asker(settings, _SECONDS)(f"show create table {schema}{AUDIT}.{view}")
    found = re.search(r"location = '([^']+)'", told)
    if found is None:
        raise LakehouseError(
            f"Trino does not tell where {schema}{AUDIT}.{view} lies",
            "look at what `show create table` tells of it",
        )
    return re.sub("^s3[an]?:", "s3:", found[1])


def publications_on_trino(settings: Settings) -> list[tuple[int, Manifest]]:
    """The publications that are remembered, newest first, each with its version."""
    ask, prefix = asker(settings, _SECONDS), settings.schema_prefix
    if _read(ask, prefix) is None:
        return []
    versions = ask(f'select version from {prefix}marts."{RECORD}$history" order by version desc')
    found = ((version, _read(ask, prefix, version)) for (version,) in versions)
    return [(version, manifest) for version, manifest in found if manifest is not None]


def _show(ask: Asked, name: str, version: int) -> None:
    schema, _, view = name.partition(".")
    ask(
        f"create or replace view {name} as "
        f"select * from {schema}{AUDIT}.{view} for version as of {version}"
    )


def _read(ask: Asked, prefix: str, version: int | None = None) -> Manifest | None:
    """What was published, last or at a version; None before the first publication."""
    schema = f"{prefix}marts"
    if [schema] not in ask("show schemas") or [RECORD] not in ask(f"show tables from {schema}"):
        return None
    of_version = "" if version is None else f" for version as of {version}"
    rows = ask(f"select {', '.join(_COLUMNS)} from {schema}.{RECORD}{of_version}")
    if not rows:
        return None
    _, _, _, _, run, at, dated, build, held = rows[0]
    manifest = Manifest(run, build, at.isoformat(), dated, is_held=held)
    for name, table_version, count, table_run, *_ in rows:
        manifest.tables[name] = Published(name, table_version, count, table_run, [], {})
    return manifest


def _write(ask: Asked, prefix: str, manifest: Manifest) -> None:
    rows = [
        (name, table.version, table.rows, table.run_id, manifest.run_id, manifest.published_at,
         manifest.business_date, manifest.build_id, manifest.is_held)
        for name, table in manifest.tables.items()
    ]  # fmt: skip
    values = ", ".join(f"({', '.join(map(_value, row))})" for row in rows)
    typed = ", ".join(f"{sql} as {name}" for name, sql in _COLUMNS.items())
    ask(
        f"create or replace table {prefix}marts.{RECORD} as select {typed} "
        f"from (values {values}) as told ({', '.join(_COLUMNS)})"
    )


def _value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else literal(str(value))
