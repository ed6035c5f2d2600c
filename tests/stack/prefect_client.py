"""Prefect's server as a client sees it, with workers of ours as processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.stack.native.components import REPOSITORY
from tests.stack.native.loopback import LOOPBACK, free_ports
from tests.stack.native.processes import Process, eventually
from tests.stack.native.stack import Stack

_SECONDS = 30


@dataclass
class Prefect:
    """The server, and how `lakehouse` reaches it.

    Attributes:
        folder: where homes and logs lie.
        told: settings of all commands.
    """

    url: str
    password: str
    folder: Path
    told: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, stack: Stack, folder: Path) -> Prefect:
        url = f"http://{LOOPBACK}:{stack.port('prefect', 4200)}/api"
        return cls(url, f"lakehouse:{stack.secrets['PREFECT_API_PASSWORD']}", folder)

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | self.told | {
            "PREFECT_API_URL": self.url,
            "PREFECT_API_AUTH_STRING": self.password,
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_WORKER_QUERY_SECONDS": "2",
        }  # fmt: skip

    # The API

    def call(self, path: str, content: Any = None, method: str | None = None) -> requests.Response:
        user, _, password = self.password.partition(":")
        return requests.request(
            method or ("GET" if content is None else "POST"), f"{self.url}/{path}",
            json=content, auth=(user, password), timeout=_SECONDS,
        )  # fmt: skip

    def deployment(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call(f"deployments/name/{name}/{name}").json()
        return found

    def start(self, name: str, **parameters: Any) -> str:
        """Have a deployment run now; returns the id of the flow run."""
        content = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        path = f"deployments/{self.deployment(name)['id']}/create_flow_run"
        answer = self.call(path, content)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def run(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call(f"flow_runs/{run}").json()
        return found

    def state(self, run: str) -> str:
        return str(self.run(run)["state"]["name"])

    def runs_of(self, name: str) -> list[dict[str, Any]]:
        """The flow runs of a deployment, the newest first."""
        content = {"deployments": {"name": {"any_": [name]}}, "sort": "EXPECTED_START_TIME_DESC"}
        found: list[dict[str, Any]] = self.call("flow_runs/filter", content).json()
        return found

    def states(self, run: str) -> list[str]:
        """All states that a flow run has had."""
        found = self.call(f"flow_run_states/?flow_run_id={run}").json()
        return [state["name"] for state in sorted(found, key=lambda state: state["timestamp"])]

    def tasks(self, run: str) -> dict[str, str]:
        """Task run → state, in the order in which they began."""
        content = {"flow_runs": {"id": {"any_": [run]}}, "sort": "EXPECTED_START_TIME_ASC"}
        found = self.call("task_runs/filter", content).json()
        return {task["name"].rpartition("-")[0]: task["state_name"] for task in found}

    def artifacts(self, run: str) -> dict[str, Any]:
        """Key → what a flow run has shown."""
        content = {"artifacts": {"flow_run_id": {"any_": [run]}}}
        shown = self.call("artifacts/filter", content).json()
        return {artifact["key"]: artifact["data"] for artifact in shown}

    def automations(self) -> dict[str, dict[str, Any]]:
        return {found["name"]: found for found in self.call("automations/filter", {}).json()}

    def switch_links(self, *, on: bool) -> None:
        """Let deployments follow others, or let none."""
        for name, automation in self.automations().items():
            if name.endswith(" follows"):
                self.call(f"automations/{automation['id']}", {"enabled": on}, "PATCH")

    # Processes

    def lakehouse(self, *arguments: str) -> str:
        """What the command line answers; it must succeed."""
        done = self.tried(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def tried(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *arguments],
            env=self.environment, cwd=REPOSITORY, capture_output=True, text=True, check=False,
            timeout=300,
        )  # fmt: skip

    @contextmanager
    def worker(self, name: str, limit: int = 2) -> Iterator[Process]:
        """A worker that works runs off."""
        (port,) = free_ports(1)
        process = Process(
            [sys.executable, "-m", "pipelines.cli", "flows", "work", "--name", name,
             "--limit", str(limit)],
            environment=self.environment | {
                "PYTHONPATH": str(REPOSITORY), "PREFECT_WORKER_WEBSERVER_PORT": str(port),
            },
            log=self.folder / f"{name}.log",
        )  # fmt: skip
        try:
            yield process
        finally:
            process.stop()


def within(seconds: float, condition: Callable[[], bool], told: Callable[[], object]) -> float:
    """Seconds until a condition held; it must in time."""
    began = time.monotonic()
    assert eventually(condition, seconds), told()
    return time.monotonic() - began
