"""Bring to Prefect's server what runs there: work pool, deployments, recipients, automations."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists

from pipelines.errors import LakehouseError
from pipelines.orchestration import alarms, recipients
from pipelines.quality.warehouse import GATED
from pipelines.settings import EMBEDDED, Settings

WORK_POOL = "lakehouse"
FILE = "prefect.yaml"
# They read what is published; on Spark nothing is, and each of their runs would fail.
_OF_MODELS = {
    "train_forecast", "train_recommender", "train_churn", "batch_inference", "drift",
}  # fmt: skip
# On Trino it serves from Redis, where settings name one with a registry.
_OF_FEATURES = {"features"}
_SHOWN = 1_500


@dataclass(frozen=True)
class Deployed:
    """What is on the server now, by name."""

    deployments: list[str]
    recipients: list[str]
    automations: list[str]


def deploy(settings: Settings) -> Deployed:
    """Bring all to the server; repeated, it changes only what has changed.

    Raises:
        LakehouseError: the file with the deployments is not there, or the server refuses one.
        UsageError: a recipient is told by half.
    """
    file = settings.project_dir.parent / FILE
    if not file.is_file():
        raise LakehouseError(
            f"{file} is missing", "run this in a clone of the repository, or set "
            "LAKEHOUSE_PROJECT_DIR to its dbt_project"
        )  # fmt: skip
    with get_client(sync_client=True) as client:
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process"))
        names = _names(file, settings)
        _deploy(file, names)
        told = recipients.save(settings)
        wanted = [
            *alarms.care_for_runs(),
            *alarms.alarms(list(told.values()), timedelta(hours=settings.silence_hours)),
        ]
        alarms.save(client, wanted)
    return Deployed(names, list(told), [automation.name for automation in wanted])


def _names(file: Path, settings: Settings) -> list[str]:
    """The deployments that this target can run."""
    names = [entry["name"] for entry in yaml.safe_load(file.read_text())["deployments"]]
    if settings.target == EMBEDDED:
        return names
    is_published = settings.target in GATED
    is_served = is_published and settings.redis and settings.feature_registry
    left_out = (set() if is_published else _OF_MODELS) | (set() if is_served else _OF_FEATURES)
    return [name for name in names if name not in left_out]


def _deploy(file: Path, names: list[str]) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy",
               "--prefect-file", file.name]  # fmt: skip
    command += [argument for name in names for argument in ("--name", name)]
    done = subprocess.run(command, cwd=file.parent, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise LakehouseError(
            f"Prefect did not take the deployments: {(done.stdout + done.stderr)[-_SHOWN:]}",
            f"correct {file}, or look after the server",
        )
