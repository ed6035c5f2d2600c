"""What an operator has paused stays paused: Prefect makes schedules anew with each deployment."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound


def there(client: SyncPrefectClient, names: Collection[str]) -> dict[str, DeploymentResponse]:
    """Name → deployment, of those that are on the server."""
    found = {}
    for name in names:
        with suppress(ObjectNotFound):
            found[name] = client.read_deployment_by_name(f"{name}/{name}")
    return found


def paused(deployments: Mapping[str, DeploymentResponse]) -> Iterator[str]:
    """Names of those that are paused, or of whose schedules each one is."""
    for name, deployment in deployments.items():
        schedules = [schedule.active for schedule in deployment.schedules]
        if deployment.paused or (schedules and not any(schedules)):
            yield name


def keep(
    client: SyncPrefectClient,
    before: Mapping[str, DeploymentResponse],
    after: Mapping[str, DeploymentResponse],
) -> None:
    """Pause the schedules that were paused before; they are known by their slugs."""
    for name, deployment in after.items():
        former = before[name].schedules if name in before else []
        slugs = {schedule.slug for schedule in former if not schedule.active}
        for schedule in deployment.schedules:
            if schedule.slug in slugs:
                client.update_deployment_schedule(deployment.id, schedule.id, active=False)
