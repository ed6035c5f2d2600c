"""The dbt project without the shop's models: its macros alone, for sources of another kind."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.embedded.conftest import REPOSITORY


def bare_project(folder: Path) -> Path:
    """A copy within the folder; models, and data tests of them, are left out."""
    project = folder / "dbt_project"
    left_out = shutil.ignore_patterns("target", "logs", "models")
    shutil.copytree(REPOSITORY / "dbt_project", project, ignore=left_out)
    shutil.rmtree(project / "tests")
    for name in ("models", "tests"):
        (project / name).mkdir()
    return project


def carriers_project(folder: Path) -> Path:
    """A project of one source table and what stages it."""
    project = bare_project(folder)
    shop = REPOSITORY / "dbt_project" / "models" / "staging" / "shop"
    place = project / "models" / "staging" / "shop"
    place.mkdir(parents=True)
    for model in ("_shop__sources.yml", "base_transporter.sql", "stg_transporter.sql"):
        (found,) = shop.rglob(model)
        shutil.copy(found, place)
    return project
