"""Feast's store over a lake: opened on one publication, registered when definitions change."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import LakehouseError, UsageError
from pipelines.features.served import folder
from pipelines.lake.files import replace_text
from pipelines.lake.publish import Manifest, read_manifest
from pipelines.settings import EMBEDDED, REPOSITORY, Settings

if TYPE_CHECKING:
    from feast import FeatureStore

PROJECT = "lakehouse"
DEFINITIONS = REPOSITORY / "feature_store"


@dataclass(frozen=True)
class Opened:
    """A store and the publication that it reads.

    Attributes:
        end: the midnight after the business date: what is known by then is what is known now.
    """

    store: FeatureStore
    manifest: Manifest
    end: datetime


def open_store(settings: Settings) -> Opened:
    """Open the store on what is published now.

    Raises:
        UsageError: the target is a server, or the lake lies in an object store.
        LakehouseError: nothing is published yet, or Feast is not installed.
    """
    if settings.target != EMBEDDED:
        raise UsageError(
            f"on {settings.target} no features are served", "leave --target out: they are embedded"
        )
    if settings.store is not None:
        raise UsageError(
            f"features are not served from a lake in {settings.store}",
            "serve them from a home on disk, without LAKEHOUSE_STORE",
        )
    try:
        from feast import FeatureStore
        from feast.repo_config import RepoConfig
    except ImportError as error:
        raise LakehouseError(
            f"Feast is not installed: {error}", "install the package with the extra features"
        ) from None
    manifest = read_manifest(settings.published)
    if manifest is None or manifest.business_date is None:
        raise LakehouseError("nothing is published yet", "run `lakehouse run` first")
    place = folder(settings)
    place.mkdir(parents=True, exist_ok=True)
    # It warns of each of its own parts that is experimental.
    logging.getLogger("feast").setLevel(logging.ERROR)
    config = RepoConfig(
        project=PROJECT,
        provider="local",
        registry={"registry_type": "file", "path": str(place / "registry.db")},
        online_store={"type": "sqlite", "path": str(place / "online.db")},
        offline_store={
            "type": "pipelines.features.offline.PublishedOfflineStore",
            "published": str(settings.published),
            "versions": {name: table.version for name, table in manifest.tables.items()},
        },
        entity_key_serialization_version=3,
    )
    config.repo_path = DEFINITIONS
    store = FeatureStore(config=config)
    _register(store, place)
    return Opened(store, manifest, midnight_after(date.fromisoformat(manifest.business_date)))


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings that Feast gives of its own parts and of its libraries'."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "On demand feature view", RuntimeWarning)
        warnings.filterwarnings("ignore", "fetch_arrow_table", DeprecationWarning)
        yield


def midnight_after(day: date) -> datetime:
    """When a day is over, UTC."""
    return datetime.combine(day, time(), UTC) + timedelta(days=1)


def _register(store: FeatureStore, place: Path) -> None:
    """Tell the registry of the definitions, unless it knows these already."""
    texts = b"\0".join(path.read_bytes() for path in sorted(DEFINITIONS.glob("*.py")))
    print_ = hashlib.sha256(texts).hexdigest()
    known = place / "definitions"
    if known.exists() and known.read_text() == print_ and (place / "registry.db").exists():
        return
    from feature_store.everything import OBJECTS

    with quiet():
        store.apply(OBJECTS)
    replace_text(known, print_)
