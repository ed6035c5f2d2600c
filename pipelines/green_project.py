"""dbt's manifest of the last green build: what a project that has changed is compared with."""

from __future__ import annotations

import json
from pathlib import Path

from pipelines.lake.files import replace_text
from pipelines.settings import Settings

_FILE = "manifest.json"
# dbt writes down where the raw tables lie, and would take another place for another source.
_ANYWHERE = "'{home}/raw/"


def keep_project(settings: Settings, artifacts: Path) -> None:
    """Keep the manifest of a build.

    Args:
        artifacts: dbt's folder, with the manifest of that very build.
    """
    text = (artifacts / _FILE).read_text(encoding="utf-8")
    _kept(settings).parent.mkdir(exist_ok=True)
    replace_text(_kept(settings), text.replace(_raw(settings), _ANYWHERE))


def has_kept_project(settings: Settings) -> bool:
    """Whether the last green build has left its manifest."""
    return _kept(settings).exists()


def put_kept_project(settings: Settings, own: Settings) -> Path:
    """The folder of a copy that dbt compares with a project whose raw tables are those of `own`."""
    text = _kept(settings).read_text(encoding="utf-8")
    copy = own.state / _kept(settings).parent.name / _FILE
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(text.replace(_ANYWHERE, _raw(own)), encoding="utf-8")
    return copy.parent


def _kept(settings: Settings) -> Path:
    return settings.state / "dbt-of-last-green-build" / _FILE


def _raw(settings: Settings) -> str:
    return f"'{json.dumps(str(settings.home))[1:-1]}/raw/"
