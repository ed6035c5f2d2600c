"""Maintenance: small files become large ones, the log gets short, what nobody needs goes.

App transactions and the versions that readers may still be reading stay as they are; rows, too, but
for those whose retention is over (`retention`).
"""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import structlog
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, WriterProperties
from deltalake.exceptions import CommitFailedError

from pipelines import retention
from pipelines.cdc import dead_letters, ledger, resolutions
from pipelines.contract import Contracts, Table
from pipelines.errors import LakehouseError, UsageError
from pipelines.lake import lock
from pipelines.lake.catalog import QUALITY_TABLES
from pipelines.lake.inference import SCHEMAS, inference_path
from pipelines.lake.publish import read_manifest
from pipelines.lake.tables import EXPIRY, again_if_overtaken, raw_path
from pipelines.lake.writer import LAKEHOUSE, writer_of
from pipelines.settings import Settings

log = structlog.get_logger()

TARGET_BYTES = 128 << 20
WEEK_HOURS = 168
# A landing writes its files before it commits them: younger ones may be about to be named.
LEAST_HOURS = 1

_WRITTEN_WHOLE = "compaction: publication writes whole parts"
_BOOKS = (ledger.FOLDER, dead_letters.FOLDER, resolutions.FOLDER)
_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.parquet")
_OF_A_VERSION = re.compile(r"(\d{20})\..+")


@dataclass(frozen=True)
class Target:
    """A table to maintain.

    Attributes:
        name: as in SQL, for example `raw.shop_public_order` or `marts.fct_sale`.
        published: the version that the manifest names; None for a raw table, read at its newest.
        contract: of a raw table.
    """

    name: str
    path: Path
    published: int | None = None
    contract: Table | None = None

    def is_called(self, name: str) -> bool:
        """Whether somebody means this table: by its SQL name, or by a raw table's folder."""
        return name == self.name or (self.published is None and name == self.path.name)


@dataclass(frozen=True)
class Geometry:
    """How a table lies on disk.

    Attributes:
        files: data files of the newest version.
        mebibytes: what these weigh.
        log_entries: commits that are kept as JSON.
    """

    files: int
    mebibytes: float
    log_entries: int


@dataclass
class TableReport:
    """What maintenance did to one table, or would do.

    Attributes:
        retired: rows deleted because the contract's retention is over.
        files_removed: data files that no reader needs any more.
        mebibytes_removed: what these weighed.
        skipped: what was left undone, and why.
    """

    table: str
    before: Geometry
    after: Geometry
    retired: int = 0
    files_removed: int = 0
    mebibytes_removed: float = 0.0
    skipped: list[str] = field(default_factory=list)


def kept(hours: int, *, force: bool = False) -> timedelta:
    """How long replaced files and log entries are kept, if that is safe.

    Raises:
        UsageError: it is less than a week without force, or less than an hour even so.
    """
    if hours < LEAST_HOURS:
        raise UsageError(
            f"--keep-hours {hours} is less than {LEAST_HOURS}: a landing that goes on could lose "
            "files that it is about to commit",
            f"keep {LEAST_HOURS} at least",
        )
    if hours < WEEK_HOURS and not force:
        raise UsageError(
            f"--keep-hours {hours} is less than a week ({WEEK_HOURS}): a query, a landing or a "
            "copy that began before may still need these files",
            "leave it out; or add --force if nothing that reads the lake began so long ago",
        )
    return timedelta(hours=hours)


def targets(settings: Settings, contracts: Contracts, names: Collection[str] = ()) -> list[Target]:
    """The tables that are there: raw tables, the books of landing and gates, published tables.

    Args:
        names: only these; raw tables also by topic or folder.

    Raises:
        UsageError: there is no table of such a name.
        LakehouseError: there is no lake at the given home.
    """
    if not settings.home.is_dir():
        raise LakehouseError(
            f"there is no lake in {settings.home}",
            "run `lakehouse demo` first, or name another with --home",
        )
    found = [
        Target(f"raw.{table.sql_name}", raw_path(settings.raw, table), contract=table)
        for table in contracts.tables
    ]
    found += [Target(f"raw.{folder}", settings.raw / folder) for folder in _BOOKS]
    found += [
        Target(f"raw.inference_{name}", inference_path(settings.raw, name)) for name in SCHEMAS
    ]
    found += [Target(f"quality.{name}", settings.quality / name) for name in QUALITY_TABLES]
    manifest = read_manifest(settings.published)
    for name, table in manifest.tables.items() if manifest else ():
        found.append(Target(name, settings.published / table.path, table.version))
    found = [target for target in found if DeltaTable.is_deltatable(str(target.path))]
    for name in names:
        if not any(target.is_called(name) for target in found):
            told = ", ".join(target.name for target in found) or "none"
            raise UsageError(f"there is no table {name} in the lake", f"there are: {told}")
    return [
        target for target in found if not names or any(target.is_called(name) for name in names)
    ]


def maintain(
    settings: Settings,
    chosen: Sequence[Target],
    run_id: str,
    *,
    keep: timedelta,
    dry_run: bool = False,
    on_table: Callable[[str], None] = lambda name: None,
) -> list[TableReport]:
    """Compact, checkpoint and clear each table; landings, runs and queries go on beside it.

    Args:
        keep: how long replaced files and log entries stay, see `kept`.
        dry_run: change nothing; tell what would be done.

    Raises:
        Busy: another maintenance is on.
        LakehouseError: another program has compacted a table at the same moment.
    """
    reports = []
    with _alone(settings, dry_run=dry_run):
        for target in chosen:
            on_table(target.name)
            if dry_run:
                report = _planned(settings, target, keep, run_id)
            else:
                report = _maintained(settings, target, keep, run_id)
            log.info(
                "table maintained", table=target.name, dry_run=dry_run, retired=report.retired,
                files_before=report.before.files, files_after=report.after.files,
                files_removed=report.files_removed, skipped=report.skipped,
            )  # fmt: skip
            reports.append(report)
    return reports


@contextmanager
def _alone(settings: Settings, *, dry_run: bool) -> Iterator[None]:
    """delta-rs lets two compactions of the same files both commit, which doubles the rows."""
    if dry_run:
        yield
        return
    with lock.exclusive(settings.state, "lakehouse maintain", name=lock.MAINTENANCE):
        yield


def geometry(path: Path) -> Geometry:
    """How the newest version of a table lies on disk."""
    sizes = pa.table(DeltaTable(str(path)).get_add_actions())["size_bytes"].to_pylist()
    return Geometry(len(sizes), _mebibytes(sum(sizes)), len(_versions(path, _COMMIT)))


def _maintained(settings: Settings, target: Target, keep: timedelta, run_id: str) -> TableReport:
    before = geometry(target.path)
    report = TableReport(target.name, before, before)
    if refusal := _refusal(target):
        report.skipped.append(refusal)
        return report
    if target.contract is not None:
        try:
            report.retired = retention.retire(settings, target.contract, run_id)
        except (lock.Busy, CommitFailedError) as error:
            report.skipped.append(f"retention: {error}")
    if target.published is not None:
        report.skipped.append(_WRITTEN_WHOLE)
    else:
        try:
            _compact(target.path, run_id)
        except CommitFailedError as error:
            report.skipped.append(f"compaction: others keep committing ({error})")
    unneeded = _unneeded_files(target, keep)
    _count_removed(report, unneeded)
    _clear(target, keep, unneeded)
    report.after = geometry(target.path)
    return report


def forget_former_versions(target: Target) -> None:
    """Delete, at once, all that only former versions of a table consist of, log entries included.

    Readers of a former version lose it. Files that nobody has committed are left for an hour, in
    which a landing may commit them.
    """
    an_hour, at_once = timedelta(hours=LEAST_HOURS), timedelta(0)
    uncommitted = _unneeded_files(target, an_hour)
    _clear(target, at_once, [*uncommitted, *_unneeded_files(target, at_once, committed=True)])


def _clear(target: Target, keep: timedelta, unneeded: Sequence[Path]) -> None:
    for file in unneeded:
        file.unlink(missing_ok=True)
    _checkpoint(target)
    for file in _unneeded_log(target, keep, _checkpoints(target.path)):
        file.unlink(missing_ok=True)


def _planned(settings: Settings, target: Target, keep: timedelta, run_id: str) -> TableReport:
    before = geometry(target.path)
    report = TableReport(target.name, before, before)
    if refusal := _refusal(target):
        report.skipped.append(refusal)
        return report
    if target.contract is not None:
        report.retired = retention.retire(settings, target.contract, run_id, dry_run=True)
    _count_removed(report, _unneeded_files(target, keep))
    files = before.files
    if target.published is not None:
        report.skipped.append(_WRITTEN_WHOLE)
    else:
        files = _files_if_compacted(target.path)
    read = DeltaTable(str(target.path), version=target.published).version()
    unneeded = _unneeded_log(target, keep, [*_checkpoints(target.path), read])
    entries = sum(_COMMIT.fullmatch(file.name) is not None for file in unneeded)
    report.after = Geometry(files, before.mebibytes, before.log_entries - entries)
    return report


def _refusal(target: Target) -> str | None:
    """Why a table is left as it is; None where it may be maintained."""
    table = DeltaTable(str(target.path))
    if (writer := writer_of(table)) != LAKEHOUSE:
        return f"all: {writer} writes it, and maintains it"
    properties = table.metadata().configuration
    if target.published is None and properties.get(EXPIRY):
        # A checkpoint would leave out, for good, the app transactions that have expired.
        return f"all: its property {EXPIRY} lets progress expire"
    return None


def _count_removed(report: TableReport, files: Sequence[Path]) -> None:
    report.files_removed = len(files)
    report.mebibytes_removed = _mebibytes(sum(f.stat().st_size for f in files if f.exists()))


def _mebibytes(size: int) -> float:
    return round(size / (1 << 20), 3)


@again_if_overtaken
def _compact(path: Path, run_id: str) -> None:
    table = DeltaTable(str(path))
    seen = table.version()
    table.optimize.compact(
        target_size=TARGET_BYTES,
        # Each task holds a file of the target size in memory.
        max_concurrent_tasks=1,
        writer_properties=WriterProperties(compression="ZSTD"),
        commit_properties=CommitProperties(custom_metadata={"run_id": run_id}),
        post_commithook_properties=PostCommitHookProperties(
            create_checkpoint=False, cleanup_expired_logs=False
        ),
    )
    _refuse_doubled_rows(path, seen, run_id)


def _refuse_doubled_rows(path: Path, seen: int, run_id: str) -> None:
    """delta-rs does not notice another program's compaction; no lock of ours keeps that away."""
    newest = DeltaTable(str(path)).version()
    for version in range(seen + 1, newest + 1):
        if not _is_compaction(path, version, run_id):
            continue
        rows = [DeltaTable(str(path), version=v).count() for v in (version - 1, version)]
        if rows[0] != rows[1]:
            raise LakehouseError(
                f"compaction took {path} from {rows[0]:,} to {rows[1]:,} rows in version {version}:"
                " another program rewrote the same files at that moment",
                'stop landings; if none has committed since, go back: python -c "from deltalake '
                f"import DeltaTable; DeltaTable('{path}').restore({version - 1})\". Let only "
                "`lakehouse maintain` compact raw tables",
            )


def _is_compaction(path: Path, version: int, run_id: str) -> bool:
    """Whether a version is this run's compaction.

    Asked of the log itself: `DeltaTable.history` also lists commits that came after the table was
    opened, and then numbers all of them too low.
    """
    lines = (path / "_delta_log" / f"{version:020}.json").read_text(encoding="utf-8").splitlines()
    commits = [action["commitInfo"] for action in map(json.loads, lines) if "commitInfo" in action]
    return any(c["operation"] == "OPTIMIZE" and c.get("run_id") == run_id for c in commits)


def _files_if_compacted(path: Path) -> int:
    """Files if those below the target size were filled up, partition by partition."""
    small: defaultdict[str, list[int]] = defaultdict(list)
    large = 0
    actions = pa.table(DeltaTable(str(path)).get_add_actions())
    for file, size in zip(
        actions["path"].to_pylist(), actions["size_bytes"].to_pylist(), strict=True
    ):
        if size < TARGET_BYTES:
            small[file.rpartition("/")[0]].append(size)
        else:
            large += 1
    return large + sum(-(-sum(sizes) // TARGET_BYTES) for sizes in small.values())


def _unneeded_files(target: Target, keep: timedelta, *, committed: bool = False) -> list[Path]:
    """Data files that no version in the time kept, and none that the manifest names, consists of.

    delta-rs tells them; they are deleted here, since its own vacuum commits, and a published table
    whose version moved would be written anew by the next publication.

    Args:
        committed: only those that some version consisted of.
    """
    versions = {_floor(target, keep)}
    if target.published is not None:
        versions.add(target.published)
    files = DeltaTable(str(target.path)).vacuum(
        # Rounded up: a part of an hour keeps more, never less.
        retention_hours=-int(-keep // timedelta(hours=1)),
        dry_run=True,
        enforce_retention_duration=False,
        full=not committed,
        keep_versions=sorted(versions),
    )
    return [target.path / file for file in files]


def _floor(target: Target, keep: timedelta) -> int:
    """The oldest version that may still be read: the newest one when the time kept began."""
    limit = _limit(keep)
    commits, checkpoints = _versions(target.path, _COMMIT), _checkpoints(target.path)
    oldest = 0 if 0 in commits else min(checkpoints, default=max(commits))
    former = [version for version, written in commits.items() if written <= limit]
    floor = max([oldest, *former])
    return floor if target.published is None else min(floor, target.published)


def _checkpoint(target: Target) -> None:
    """Checkpoint the version that is read; it carries the app transactions."""
    table = DeltaTable(str(target.path), version=target.published)
    if table.version() not in _checkpoints(target.path):
        table.create_checkpoint()


def _unneeded_log(target: Target, keep: timedelta, checkpoints: Collection[int]) -> list[Path]:
    """Log files older than the time kept that a checkpoint not above the floor replaces.

    delta-rs' own clearing goes by a property of the table, whose change would refuse the landings
    that are on.
    """
    floor, limit = _floor(target, keep), _limit(keep)
    base = max((version for version in checkpoints if version <= floor), default=0)
    return [
        file
        for file, version, written in sorted(_log_files(target.path, _OF_A_VERSION))
        if version < base and written <= limit
    ]


def _limit(keep: timedelta) -> float:
    return time.time() - keep.total_seconds()


def _checkpoints(path: Path) -> list[int]:
    return sorted(_versions(path, _CHECKPOINT))


def _versions(path: Path, pattern: re.Pattern[str]) -> dict[int, float]:
    """Version → when its file was written, for log files of one kind."""
    return {version: written for _, version, written in _log_files(path, pattern)}


def _log_files(path: Path, pattern: re.Pattern[str]) -> Iterator[tuple[Path, int, float]]:
    for file in (path / "_delta_log").iterdir():
        if match := pattern.fullmatch(file.name):
            # A landing may clear its log at this moment.
            with suppress(FileNotFoundError):
                yield file, int(match[1]), file.stat().st_mtime
