"""Automations of Prefect's server: they look after runs that nobody else can look after any more.

They are kept by the server, so that they work when every worker is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from prefect.automations import (
    AutomationCore,
    ChangeFlowRunState,
    EventTrigger,
    Posture,
    SendNotification,
)
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType

from pipelines.orchestration.artifacts import LANDED, PUBLISHED

# Heartbeats come every 30 seconds, the shortest that Prefect has: one may be lost, two may not.
SILENCE = timedelta(seconds=65)
# A worker dies of a run that comes again before it has let go of the former try.
PAUSE = timedelta(seconds=20)
# Counted from 1. A run that never began has none; it is reported, and not tried again: what kills
# a process before it says a word will do so for ever.
RETRIED_AFTER = ("1", "2")

_RUN = "prefect.flow-run"
_ANY_RUN = {"prefect.resource.id": f"{_RUN}.*"}
_OURS = {"prefect.resource.id": "prefect.tag.lakehouse", "prefect.resource.role": "tag"}


def care_for_runs() -> list[AutomationCore]:
    """What is done by itself about runs whose process is gone."""
    alive = ("Submitting", "InfrastructurePending", "Pending", "Running", "Retrying", "heartbeat")
    signs_of_life = {f"{_RUN}.{sign}" for sign in alive}
    return [
        AutomationCore(
            name="lakehouse: a silent run has crashed",
            description="Neither its process nor its worker can tell any more.",
            trigger=EventTrigger(
                posture=Posture.Proactive,
                match=_ANY_RUN,
                match_related=_OURS,
                for_each={"prefect.resource.id"},
                after=signs_of_life,
                expect={f"{_RUN}.*"},
                within=SILENCE,
            ),
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED,
                    message=f"nothing was heard of it for {SILENCE.seconds} seconds: its process "
                    "and its worker are gone",
                )
            ],
        ),
        AutomationCore(
            name="lakehouse: a crashed run is tried again",
            description="Every flow may be repeated; the third crash is the last.",
            trigger=EventTrigger(
                posture=Posture.Proactive,
                match={**_ANY_RUN, "prefect.run-count": list(RETRIED_AFTER)},
                match_related=_OURS,
                for_each={"prefect.resource.id"},
                after={f"{_RUN}.Crashed"},
                expect={f"{_RUN}.*"},
                within=PAUSE,
            ),
            actions=[
                ChangeFlowRunState(
                    state=StateType.SCHEDULED,
                    name="AwaitingRetry",
                    message="it crashed, and is tried again",
                )
            ],
        ),
    ]


def alarms(blocks: Sequence[UUID], silence: timedelta) -> list[AutomationCore]:
    """Who is told what.

    Args:
        blocks: documents of notification blocks; without any there is no alarm.
        silence: how long nothing may land, or be published, before that is an alarm.
    """
    of_a_run = (
        "{{ flow.name }} {{ flow_run.name }}: {{ flow_run.state.name }}\n"
        "{{ flow_run.state.message }}\n{{ flow_run|ui_url }}"
    )
    told = [
        AutomationCore(
            name="lakehouse: a run failed",
            trigger=EventTrigger(
                posture=Posture.Reactive,
                match=_ANY_RUN,
                match_related=_OURS,
                expect={f"{_RUN}.{state}" for state in ("Failed", "Crashed", "TimedOut")},
            ),
            actions=_notifications(blocks, "{{ flow.name }}: {{ flow_run.state.name }}", of_a_run),
        ),
        AutomationCore(
            name="lakehouse: a run is late",
            description="No worker has taken it up.",
            trigger=EventTrigger(
                posture=Posture.Reactive,
                match=_ANY_RUN,
                match_related=_OURS,
                expect={f"{_RUN}.Late"},
            ),
            actions=_notifications(blocks, "{{ flow.name }}: late", of_a_run),
        ),
    ]
    for event, what in ((LANDED, "nothing has landed"), (PUBLISHED, "nothing was published")):
        subject = f"lakehouse: {what} for {silence}"
        told.append(
            AutomationCore(
                name=f"lakehouse: {what}",
                trigger=EventTrigger(
                    posture=Posture.Proactive,
                    match={"prefect.resource.id": "lakehouse.lake"},
                    expect={event},
                    within=silence,
                ),
                actions=_notifications(blocks, subject, "See `lakehouse status`."),
            )
        )
    return told if blocks else []


def save(client: SyncPrefectClient, wanted: Sequence[AutomationCore]) -> None:
    """Bring automations to the server: each is there once, as wanted; others of ours go.

    What an operator has paused stays paused.
    """
    names = {automation.name for automation in wanted}
    for there in client.read_automations():
        if there.name.startswith("lakehouse: ") and there.name not in names:
            client.delete_automation(there.id)
    for automation in wanted:
        former = client.read_automations_by_name(automation.name)
        for copy in former[1:]:
            client.delete_automation(copy.id)
        if former:
            is_on = automation.enabled and former[0].enabled
            changed = automation.model_copy(update={"enabled": is_on})
            client.update_automation(former[0].id, changed)
        else:
            client.create_automation(automation)


def _notifications(blocks: Sequence[UUID], subject: str, body: str) -> list[SendNotification]:
    return [
        SendNotification(block_document_id=block, subject=subject, body=body) for block in blocks
    ]
