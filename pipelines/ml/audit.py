"""The audit log: who trained, promoted, refused, rolled back or scored what, when and why."""

from __future__ import annotations

import getpass
from typing import Literal

import pyarrow as pa

from pipelines.caller import Caller
from pipelines.lake.ids import new_id, now
from pipelines.lake.inference import AUDIT, SCHEMAS, append_inference
from pipelines.settings import Settings

Action = Literal["train", "promote", "refuse", "rollback", "score"]


def audit(
    settings: Settings,
    action: Action,
    kind: str,
    model_version: str,
    reason: str,
    *,
    run_id: str,
    actor: str,
) -> None:
    """Write an entry; nothing is ever changed or taken out."""
    row = {
        "audit_id": new_id(),
        "action": action,
        "kind": kind,
        "model_version": model_version,
        "actor": actor,
        "reason": reason,
        "run_id": run_id,
        "acted_at": now(),
    }
    rows = pa.Table.from_pylist([row], SCHEMAS[AUDIT])
    append_inference(settings.raw, AUDIT, rows, metadata={"run_id": run_id})


def actor(by: Caller) -> str:
    """Who acts: a flow by its name, else the user of this machine."""
    if by.run_id is not None:
        return "prefect"
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
