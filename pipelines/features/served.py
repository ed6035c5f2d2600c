"""What is served, and since which publication: remembered where it is served."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.lake.files import replace_text
from pipelines.settings import EMBEDDED, Settings

_STATE = "materialised.json"


@dataclass(frozen=True)
class Materialised:
    """What is served of a view.

    Attributes:
        version: of the published table.
        until: the midnight after the business date, ISO, UTC: what was known by then is served.
        entities: how many have features.
        written: rows that the last materialisation wrote, those of entities that went included.
    """

    table: str
    version: int
    until: str
    entities: int
    written: int


def project(settings: Settings) -> str:
    """The name under which Feast keeps keys and definitions: builds of several people have several.

    None is the end of another one, which the capitals see to: in Redis a key belongs to the project
    whose name it ends with.
    """
    if settings.target == EMBEDDED or not settings.schema_prefix:
        return "lakehouse"
    return f"lakehouse_FOR_{settings.schema_prefix.lower()}_"


def materialised(settings: Settings) -> dict[str, Materialised]:
    """What is served, by view; empty before the first materialisation.

    Raises:
        Unavailable: Redis does not answer.
    """
    told = _read(settings)
    return {name: Materialised(**one) for name, one in json.loads(told or "{}").items()}


def forget_served(settings: Settings) -> None:
    """Serve nothing any more from a home, until the next materialisation writes all anew."""
    shutil.rmtree(folder(settings), ignore_errors=True)


def remember(settings: Settings, served: Mapping[str, Materialised]) -> None:
    """Note what is served now.

    Raises:
        Unavailable: Redis does not answer.
    """
    told = json.dumps({name: asdict(one) for name, one in served.items()}, indent=1)
    if settings.target == EMBEDDED:
        replace_text(folder(settings) / _STATE, told)
        return
    from pipelines.features.online import answering, client

    url = str(settings.redis)
    with answering(url):
        client(url).set(_key(settings), told)


def folder(settings: Settings) -> Path:
    """Where Feast keeps its registry and the features to be served, without servers for them."""
    return settings.state / "feast"


def freshness(settings: Settings) -> list[dict[str, Any]]:
    """What `lakehouse status` tells: per view until when it is served, and how much of it.

    Raises:
        Unavailable: Redis does not answer.
    """
    return [{"view": name, **asdict(told)} for name, told in materialised(settings).items()]


def _read(settings: Settings) -> str | None:
    if settings.target == EMBEDDED:
        file = folder(settings) / _STATE
        return file.read_text() if file.exists() else None
    if settings.redis is None:
        return None
    from pipelines.features.online import answering, client

    with answering(settings.redis):
        told = client(settings.redis).get(_key(settings))
    return told.decode() if isinstance(told, bytes) else None


def _key(settings: Settings) -> str:
    """Not as Feast's keys, which begin with those of entities."""
    return f"{project(settings)}:{_STATE}"
