"""Flows on Prefect: a hundred queued runs, and what orchestration costs beside the chain itself."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.measure import size, table
from tests.stack.native.components import install
from tests.stack.native.processes import eventually
from tests.stack.native.stack import Stack
from tests.stack.prefect_client import Prefect

_PATIENCE_S = 1_800
_LIMIT = 4
_OF_A_RUN = ("flow_id", "entrypoint", "pull_steps", "work_pool_name", "work_queue_name", "tags",
             "job_variables", "path")  # fmt: skip


def main() -> None:
    """Print how queued runs are worked off, and the time of a whole chain in both ways.

    The queued runs are of `ingest` with an empty inbox. BENCH_RUNS asks for fewer than 100.
    """
    count = size("BENCH_RUNS", 100)
    folder = Path(tempfile.mkdtemp(prefix="bench-flows-"))
    # PostgreSQL's user must be able to enter.
    folder.chmod(0o755)
    stack = Stack(folder, install())
    try:
        stack.up(["platform-db", "prefect"])
        prefect = Prefect.of(stack, folder)
        prefect.told = {"LAKEHOUSE_HOME": str(folder / "lake")}
        prefect.lakehouse("flows", "deploy")
        pause(prefect)
        queued(prefect, count)
        whole_chain(prefect)
    finally:
        stack.down()
        with suppress(OSError):
            shutil.rmtree(folder)


def pause(prefect: Prefect) -> None:
    """Let nothing run but what is asked for."""
    for name in ("ingest", "daily", "maintain"):
        deployment = prefect.deployment(name)
        for schedule in deployment["schedules"]:
            path = f"deployments/{deployment['id']}/schedules/{schedule['id']}"
            prefect.call(path, {"active": False}, "PATCH")
    prefect.switch_links(on=False)


def queued(prefect: Prefect, count: int) -> None:
    """Queue runs, have one worker work them off, and print what became of them."""
    flow = prefect.deployment("ingest")
    # As ingest, but as many at once as there are.
    many = {key: flow[key] for key in _OF_A_RUN} | {"name": "many"}
    deployment = prefect.call("deployments/", many).json()["id"]
    for _ in range(count):
        prefect.call(f"deployments/{deployment}/create_flow_run", {"state": {"type": "SCHEDULED"}})
    mine = {"deployments": {"id": {"any_": [deployment]}}}

    def runs() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = prefect.call("flow_runs/filter", mine).json()
        return found

    began = time.monotonic()
    with prefect.worker("many", limit=_LIMIT):
        eventually(lambda: all(run["end_time"] for run in runs()), _PATIENCE_S)
    seconds = time.monotonic() - began
    states = Counter(run["state"]["name"] for run in runs())
    ended = ", ".join(f"{count} {name}" for name, count in states.items())
    rows: list[list[object]] = [[count, _LIMIT, seconds, seconds / count, ended]]
    table("Queued runs", ["runs", "at once", "s", "s a run", "ended as"], rows)


def whole_chain(prefect: Prefect) -> None:
    """Print what the whole chain takes by command line and by flow, on the same events."""
    home = prefect.folder / "lake"
    shutil.rmtree(home, ignore_errors=True)
    prefect.lakehouse("shop", "capture", "--to", str(home / "inbox"), "--clients", "20")
    other = prefect.folder / "by-command-line"
    shutil.copytree(home, other)
    rows: list[list[object]] = []
    for what in ("first build", "nothing new"):
        began = time.monotonic()
        prefect.lakehouse("--home", str(other), "run")
        by_command_line = time.monotonic() - began
        with prefect.worker("chain"):
            run = prefect.start("daily")
            eventually(lambda run=run: bool(prefect.run(run)["end_time"]), _PATIENCE_S)  # type: ignore[misc]
        by_flow = prefect.run(run)
        steps = by_flow["total_run_time"]
        waited = seconds_between(by_flow["expected_start_time"], by_flow["start_time"])
        rows.append([what, by_command_line, steps, waited])
    header = ["run", "by command line, s", "as a flow, s", "until the flow began, s"]
    table("The whole chain", header, rows)


def seconds_between(earlier: str, later: str) -> float:
    """Between two times of the API."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
