"""Publication: finished tables become Delta, and one manifest moves readers to them at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import duckdb
import pyarrow as pa
import structlog
from deltalake import (
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import DeltaError, TableNotFoundError

from pipelines.errors import LakehouseError
from pipelines.lake.files import replace_text
from pipelines.lake.ids import now
from pipelines.lake.tables import UTC_MICROSECONDS

log = structlog.get_logger()

MANIFEST = "manifest.json"
_FORMER = "manifests"
_KEPT_MANIFESTS = 100
RECORD = "_publication"
PUBLICATION = f"marts.{RECORD}"
RECORD_SCHEMA = pa.schema(
    [
        ("table_name", pa.string()),
        ("version", pa.int64()),
        ("row_count", pa.int64()),
        ("run_id", pa.string()),
        ("published_in_run", pa.string()),
        ("published_at", UTC_MICROSECONDS),
        ("business_date", pa.string()),
        ("build_id", pa.string()),
    ]
)
_WHOLE = ""
# Until the manifest moves, readers need the log of the version before this commit.
_KEEP_LOG = PostCommitHookProperties(cleanup_expired_logs=False)


@dataclass(frozen=True)
class Source:
    """A finished table of the work file.

    Attributes:
        partition_by: a date column by which the published table is cut, so that only the parts
            that changed are rewritten; None rewrites the whole table.
    """

    schema: str
    name: str
    partition_by: str | None = None

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Published:
    """Where readers find one table: `delta_scan(<published>/<path>, version => <version>)`.

    Attributes:
        parts: partition value (or '' for the whole table) → fingerprint of its rows.
    """

    path: str
    version: int
    rows: int
    run_id: str
    columns: list[str]
    parts: dict[str, str]

    @property
    def content_hash(self) -> str:
        """Sixteen hex digits of columns and rows, whatever the order of the rows."""
        content = json.dumps([self.columns, sorted(self.parts.items())])
        return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass
class Manifest:
    """What readers see: one version of every table, all of one build.

    Attributes:
        is_held: somebody has rolled readers back to it; runs publish nothing until it is released.
    """

    run_id: str
    build_id: str
    published_at: str
    business_date: str | None
    tables: dict[str, Published] = field(default_factory=dict)
    is_held: bool = False

    @property
    def version(self) -> int:
        """Number of the publication: the version of its table `marts._publication`."""
        return self.tables[PUBLICATION].version


def read_manifest(published: Path) -> Manifest | None:
    """The current manifest, None before the first publication."""
    return _read(published / MANIFEST)


def former_manifests(published: Path) -> list[Manifest]:
    """The publications that are remembered, newest first; the files of old ones may be gone."""
    found = (_read(path) for path in reversed(_manifest_files(published)))
    return [manifest for manifest in found if manifest is not None]


def forget_manifests(published: Path) -> None:
    """Forget all publications but the one that is shown: their versions are about to go."""
    shown = read_manifest(published)
    for path in _manifest_files(published):
        if shown is None or path.name != _file_name(shown):
            path.unlink()


def roll_back(published: Path, version: int) -> Manifest:
    """Move readers back to a former publication, and hold it.

    Args:
        version: number of the publication.

    Raises:
        LakehouseError: nobody remembers it, or maintenance has deleted files of it.
    """
    manifest = next((m for m in former_manifests(published) if m.version == version), None)
    if manifest is None:
        known = ", ".join(str(m.version) for m in former_manifests(published)) or "none"
        raise LakehouseError(
            f"there is no publication {version}", f"`lakehouse publish` lists them: {known}"
        )
    for name, table in manifest.tables.items():
        _refuse_missing_files(name, published / table.path, table.version)
    held = replace(manifest, is_held=True)
    replace_text(published / MANIFEST, _text(held))
    return held


def release(published: Path) -> None:
    """Let the next run publish again; readers stay where they are until then."""
    manifest = read_manifest(published)
    if manifest is not None and manifest.is_held:
        replace_text(published / MANIFEST, _text(replace(manifest, is_held=False)))


def _refuse_missing_files(name: str, path: Path, version: int) -> None:
    try:
        uris = DeltaTable(str(path), version=version).file_uris()
        missing = [uri for uri in uris if not (path / uri.rpartition(f"{path.name}/")[2]).exists()]
    except (DeltaError, TableNotFoundError) as error:
        missing = [str(error)]
    if missing:
        raise LakehouseError(
            f"{name} has no version {version} any more: {missing[0]}",
            "choose a younger publication; `lakehouse maintain` keeps what is replaced for a week",
        )


def _read(path: Path) -> Manifest | None:
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    tables = {name: Published(**table) for name, table in content.pop("tables").items()}
    return Manifest(**content, tables=tables)


def publish(
    connection: duckdb.DuckDBPyConnection,
    sources: Sequence[Source],
    published: Path,
    *,
    run_id: str,
    build_id: str,
    business_date: str | None,
) -> Manifest:
    """Write what changed as Delta, then replace the manifest in one step.

    Readers of the manifest see the former run until the last moment; a crash before it leaves
    versions that nobody refers to.

    Args:
        connection: a connection in which `<schema>.<name>` of every source can be read.
    """
    former = read_manifest(published)
    manifest = Manifest(run_id, build_id, now().isoformat(), business_date)
    for source in sources:
        before = former.tables.get(source.full_name) if former else None
        manifest.tables[source.full_name] = _publish_table(
            connection, source, before, published, run_id
        )
    record = _publish_record(manifest, published)
    manifest.tables[PUBLICATION] = record
    folder = published / _FORMER
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / _file_name(manifest), _text(manifest))
    for old in _manifest_files(published)[:-_KEPT_MANIFESTS]:
        old.unlink()
    replace_text(published / MANIFEST, _text(manifest))
    return manifest


def _manifest_files(published: Path) -> list[Path]:
    folder = published / _FORMER
    return sorted(folder.glob("*.json")) if folder.is_dir() else []


def _file_name(manifest: Manifest) -> str:
    return f"{manifest.version:08}.json"


def _text(manifest: Manifest) -> str:
    return json.dumps(asdict(manifest), indent=1)


def _publish_table(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    before: Published | None,
    published: Path,
    run_id: str,
) -> Published:
    columns, names = _described(connection, source)
    rows, parts = _fingerprints(connection, source, names)
    path = Path(source.schema) / source.name
    target = published / path
    intact = (
        before is not None
        and before.columns == columns
        and set(before.parts) <= set(parts)
        and DeltaTable.is_deltatable(str(target))
        and DeltaTable(str(target)).version() == before.version
    )
    if before is not None and intact and before.parts == parts:
        return before
    changed = None
    if before is not None and intact and source.partition_by:
        changed = [part for part, print_ in parts.items() if before.parts.get(part) != print_]
        if _WHOLE in changed:
            # The part without a date: no predicate can name it.
            changed = None
    _write(connection, source, names, target, changed, run_id)
    version = DeltaTable(str(target)).version()
    log.info("table published", table=source.full_name, version=version, rows=rows)
    return Published(str(path), version, rows, run_id, columns, parts)


def fingerprinted(connection: duckdb.DuckDBPyConnection, name: str, table: Published) -> Published:
    """A published table with columns and fingerprint, where its publisher keeps none.

    Args:
        connection: one in which the table can be read by its name.
    """
    schema, _, own = name.partition(".")
    source = Source(schema, own)
    columns, names = _described(connection, source)
    _, parts = _fingerprints(connection, source, names)
    return replace(table, columns=columns, parts=parts)


def _described(
    connection: duckdb.DuckDBPyConnection, source: Source
) -> tuple[list[str], list[str]]:
    """Columns with their types, and their names for SQL, without those of the build."""
    described = connection.execute(f"describe {source.full_name}").fetchall()
    kept = [(row[0], row[1]) for row in described if not row[0].startswith("_")]
    return [f"{name} {kind}" for name, kind in kept], [f'"{name}"' for name, _ in kept]


def _fingerprints(
    connection: duckdb.DuckDBPyConnection, source: Source, names: list[str]
) -> tuple[int, dict[str, str]]:
    """Row count, and per part a fingerprint that does not depend on the order of rows."""
    part = f"coalesce(cast({source.partition_by} as varchar), '')" if source.partition_by else "''"
    found = connection.execute(
        f"""with hashed as (select {part} as part, hash({", ".join(names)}) as h
            from {source.full_name})
        select part, count(*), bit_xor(h), sum(h % 1000003) from hashed
        group by part order by part"""
    ).fetchall()
    prints = {part: f"{count}:{xor:x}:{total}" for part, count, xor, total in found}
    return sum(row[1] for row in found), prints or {_WHOLE: "0"}


def _write(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    names: list[str],
    target: Path,
    changed: list[str] | None,
    run_id: str,
) -> None:
    """Overwrite the table, or only the changed parts of it, in one Delta commit."""
    only = ""
    predicate = None
    if changed is not None:
        values = ", ".join(f"'{part}'" for part in changed)
        only = f"where cast({source.partition_by} as varchar) in ({values})"
        predicate = f"{source.partition_by} in ({values})"
    data = connection.execute(
        f"select {', '.join(names)} from {source.full_name} {only}"
    ).to_arrow_reader(100_000)
    write_deltalake(
        str(target),
        data,
        mode="overwrite",
        predicate=predicate,
        schema_mode=None if predicate else "overwrite",
        partition_by=[source.partition_by] if source.partition_by else None,
        writer_properties=WriterProperties(compression="ZSTD"),
        commit_properties=CommitProperties(custom_metadata={"run_id": run_id}),
        post_commithook_properties=_KEEP_LOG,
    )


def _publish_record(manifest: Manifest, published: Path) -> Published:
    """The table `marts._publication`: which run and version each published table is of."""
    rows = [
        {
            "table_name": name,
            "version": table.version,
            "row_count": table.rows,
            "run_id": table.run_id,
            "published_in_run": manifest.run_id,
            "published_at": now(),
            "business_date": manifest.business_date,
            "build_id": manifest.build_id,
        }
        for name, table in manifest.tables.items()
    ]
    path = Path(*PUBLICATION.split("."))
    target = published / path
    write_deltalake(
        str(target),
        pa.Table.from_pylist(rows, RECORD_SCHEMA),
        mode="overwrite",
        schema_mode="overwrite",
        commit_properties=CommitProperties(custom_metadata={"run_id": manifest.run_id}),
        post_commithook_properties=_KEEP_LOG,
    )
    version = DeltaTable(str(target)).version()
    return Published(str(path), version, len(rows), manifest.run_id, RECORD_SCHEMA.names, {})
