"""Feast's store over a lake: opened on one publication, registered when definitions change."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipelines.errors import LakehouseError, Unavailable, UsageError
from pipelines.features.on_duckdb import embedded_tables
from pipelines.features.on_trino import TrinoTables
from pipelines.features.rows import Tables
from pipelines.features.served import folder, project
from pipelines.lake.publish import Manifest
from pipelines.lake.shown import shown, without_prefix
from pipelines.settings import EMBEDDED, REPOSITORY, Settings

if TYPE_CHECKING:
    from feast import FeatureStore

DEFINITIONS = REPOSITORY / "feature_store"
_PRINT = "definitions"


@dataclass(frozen=True)
class Opened:
    """A store and the publication that it reads.

    Attributes:
        manifest: its tables have names without a prefix of schemas.
        end: the midnight after the business date: what is known by then is what is known now.
    """

    store: FeatureStore
    manifest: Manifest
    end: datetime


def open_store(settings: Settings) -> Opened:
    """Open the store on what is published now.

    Raises:
        UsageError: features are not served where the settings point to.
        Unavailable: Trino or the registry does not answer.
        LakehouseError: nothing is published yet, or Feast is not installed.
    """
    _demand(settings)
    try:
        from feast import FeatureStore
        from feast.repo_config import RepoConfig
    except ImportError as error:
        raise LakehouseError(
            f"Feast is not installed: {error}", "install the package with the extra features"
        ) from None
    found = shown(settings)
    if found is None or found.business_date is None:
        raise LakehouseError("nothing is published yet", "run `lakehouse run` first")
    manifest = without_prefix(found, settings.schema_prefix)
    # It warns of each of its own parts that is experimental.
    logging.getLogger("feast").setLevel(logging.ERROR)
    config = RepoConfig(
        project=project(settings),
        provider="local",
        entity_key_serialization_version=3,
        **_places(settings, {name: table.version for name, table in manifest.tables.items()}),
    )
    config.repo_path = DEFINITIONS
    with registry_answering(settings):
        store = FeatureStore(config=config)
        _register(store)
    return Opened(store, manifest, midnight_after(date.fromisoformat(found.business_date)))


def tables_of(settings: Settings, manifest: Manifest) -> AbstractContextManager[Tables]:
    """The published feature tables, where the target has them."""
    if settings.target == EMBEDDED:
        return embedded_tables(settings, manifest)
    return nullcontext(TrinoTables(settings))


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings that Feast gives of its own parts and of its libraries'."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "On demand feature view", RuntimeWarning)
        warnings.filterwarnings("ignore", "fetch_arrow_table", DeprecationWarning)
        yield


@contextmanager
def registry_answering(settings: Settings) -> Iterator[None]:
    """Turn what goes wrong with a registry on a server into a cause and a remedy.

    Raises:
        Unavailable: it does not answer, or lets nobody in.
    """
    if settings.target == EMBEDDED:
        yield
        return
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        parts = urlsplit(str(settings.feature_registry))
        told = " ".join(str(error.orig).split())
        raise Unavailable(
            f"the registry of features at {parts.hostname}:{parts.port or 5432} does not answer, "
            f"or refuses: {told[:300]}",
            "start its database, or correct LAKEHOUSE_FEATURE_REGISTRY",
        ) from None


def midnight_after(day: date) -> datetime:
    """When a day is over, UTC."""
    return datetime.combine(day, time(), UTC) + timedelta(days=1)


def _demand(settings: Settings) -> None:
    if settings.target == EMBEDDED:
        if settings.store is not None:
            raise UsageError(
                f"features are not served from a lake in {settings.store}",
                "serve them from a home on disk, without LAKEHOUSE_STORE, or on --target trino",
            )
        return
    if settings.target != "trino":
        raise UsageError(
            f"on {settings.target} no features are served",
            "use --target trino, or leave it out: then they are embedded",
        )
    missing = [
        f"LAKEHOUSE_{name.upper()}"
        for name in ("redis", "feature_registry")
        if getattr(settings, name) is None
    ]
    if missing:
        raise UsageError(
            f"features on Trino need {' and '.join(missing)}",
            "tell where Redis serves them, and which PostgreSQL keeps their registry",
        )


def _places(settings: Settings, versions: dict[str, int]) -> dict[str, Any]:
    """Registry, online and offline store, as Feast wants to be told."""
    if settings.target == EMBEDDED:
        place = folder(settings)
        place.mkdir(parents=True, exist_ok=True)
        return {
            "registry": {"registry_type": "file", "path": str(place / "registry.db")},
            "online_store": {"type": "sqlite", "path": str(place / "online.db")},
            "offline_store": {
                "type": "pipelines.features.offline.PublishedOfflineStore",
                "published": str(settings.published),
                "versions": versions,
            },
        }
    return {
        # Who opened it has the definitions that it knew then.
        "registry": {
            "registry_type": "sql",
            "path": settings.feature_registry,
            "cache_ttl_seconds": 0,
        },
        "online_store": {
            "type": "pipelines.features.online.ServedOnlineStore",
            "url": settings.redis,
        },
        "offline_store": {
            "type": "pipelines.features.offline_on_trino.TrinoOfflineStore",
            "settings": settings,
            "versions": versions,
        },
    }


def _register(store: FeatureStore) -> None:
    """Tell the registry of the definitions, unless it knows these already."""
    from feast import Project

    texts = b"\0".join(path.read_bytes() for path in sorted(DEFINITIONS.glob("*.py")))
    tags = {_PRINT: hashlib.sha256(texts).hexdigest()}
    known = {one.name: one.tags for one in store.registry.list_projects(allow_cache=True)}
    if known.get(store.project) == tags:
        return
    from feature_store.everything import OBJECTS

    with quiet():
        store.apply(OBJECTS)
    # Told last: what ended halfway is done again.
    store.registry.apply_project(Project(name=store.project, tags=tags))
