"""Bring to Prefect's server what runs there: work pool, deployments, recipients, automations."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectAlreadyExists

from pipelines.errors import LakehouseError
from pipelines.orchestration import alarms, pauses, recipients
from pipelines.orchestration.links import links
from pipelines.quality.warehouse import GATED
from pipelines.settings import EMBEDDED, Settings

WORK_POOL = "lakehouse"
FILE = "prefect.yaml"
# They read what is published; on Spark nothing is, and each of their runs would fail.
_OF_PUBLISHED = {
    "train_forecast", "train_recommender", "train_churn", "batch_inference", "drift", "report",
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

    What an operator has paused stays paused.

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
        clocks = _clocks(file)
        names = _names(clocks, settings)
        former = pauses.there(client, names)
        _deploy(file, names)
        deployments = pauses.there(client, names)
        pauses.keep(client, former, deployments)
        _stop_clocks(client, deployments, clocks)
        told = recipients.save(settings)
        ids = {name: deployment.id for name, deployment in deployments.items()}
        wanted = [
            *links(ids, set(pauses.paused(former))),
            *alarms.care_for_runs(),
            *alarms.alarms(list(told.values()), timedelta(hours=settings.silence_hours)),
        ]
        alarms.save(client, wanted)
    return Deployed(names, list(told), [automation.name for automation in wanted])


def _clocks(file: Path) -> dict[str, set[str]]:
    """Deployment → slugs of its schedules."""
    return {
        entry["name"]: {schedule["slug"] for schedule in entry["schedules"]}
        for entry in yaml.safe_load(file.read_text())["deployments"]
    }


def _names(clocks: Mapping[str, set[str]], settings: Settings) -> list[str]:
    """The deployments that this target can run."""
    names = list(clocks)
    if settings.target == EMBEDDED:
        return names
    is_published = settings.target in GATED
    is_served = is_published and settings.redis and settings.feature_registry
    left_out = (set() if is_published else _OF_PUBLISHED) | (set() if is_served else _OF_FEATURES)
    return [name for name in names if name not in left_out]


def _stop_clocks(
    client: SyncPrefectClient,
    deployments: Mapping[str, DeploymentResponse],
    clocks: Mapping[str, set[str]],
) -> None:
    """Delete schedules that the file names no more; those that a person has made have no slug."""
    for name, deployment in deployments.items():
        for schedule in deployment.schedules:
            if schedule.slug and schedule.slug not in clocks[name]:
                client.delete_deployment_schedule(deployment.id, schedule.id)


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
