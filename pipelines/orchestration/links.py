"""What follows what: automations that run one deployment when a run of another has completed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import UUID

from prefect.automations import AutomationCore, EventTrigger, Posture
from prefect.events.actions import RunDeployment

_PUBLISHING = ("daily", "transform", "backfill")
# The drift trains, too.
_TRAINING = ("train_forecast", "train_recommender", "train_churn", "drift")
# Those of `Unchanged` runs are missing here: they have nothing for whom follows.
_COMPLETED = "prefect.flow-run.Completed"

# Deployment → those whose completion it waits for.
FOLLOWS = {
    "features": _PUBLISHING,
    "batch_inference": (*_PUBLISHING, *_TRAINING),
    "drift": ("batch_inference",),
}


def links(deployments: Mapping[str, UUID], paused: Collection[str] = ()) -> list[AutomationCore]:
    """One automation for each deployment that follows others.

    Args:
        deployments: name → id of those that are on the server; what is not there is not followed.
        paused: names of those that an operator has paused: their links begin paused.
    """
    return [
        AutomationCore(
            name=f"lakehouse: {name} follows",
            description=f"When a run has completed of: {', '.join(before)}.",
            enabled=name not in paused,
            trigger=EventTrigger(
                posture=Posture.Reactive,
                match={"prefect.resource.id": "prefect.flow-run.*"},
                match_related={
                    "prefect.resource.role": "deployment",
                    "prefect.resource.id": [
                        f"prefect.deployment.{deployments[other]}" for other in before
                    ],
                },
                expect={_COMPLETED},
            ),
            actions=[RunDeployment(source="selected", deployment_id=deployments[name])],
        )
        for name, follows in FOLLOWS.items()
        if name in deployments and (before := [other for other in follows if other in deployments])
    ]
