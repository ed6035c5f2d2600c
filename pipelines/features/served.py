"""What is served, and since which publication: remembered beside Feast's own files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.lake.files import replace_text
from pipelines.settings import Settings

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


def materialised(settings: Settings) -> dict[str, Materialised]:
    """What is served, by view; empty before the first materialisation."""
    file = folder(settings) / _STATE
    if not file.exists():
        return {}
    return {name: Materialised(**told) for name, told in json.loads(file.read_text()).items()}


def forget_served(settings: Settings) -> None:
    """Serve nothing any more, until the next materialisation writes all anew."""
    shutil.rmtree(folder(settings), ignore_errors=True)


def remember(settings: Settings, served: Mapping[str, Materialised]) -> None:
    """Note what is served now."""
    told = {name: asdict(one) for name, one in served.items()}
    replace_text(folder(settings) / _STATE, json.dumps(told, indent=1))


def folder(settings: Settings) -> Path:
    """Where Feast keeps its registry and the features to be served."""
    return settings.state / "feast"


def freshness(settings: Settings) -> list[dict[str, Any]]:
    """What `lakehouse status` tells: per view until when it is served, and how much of it."""
    return [{"view": name, **asdict(told)} for name, told in materialised(settings).items()]
