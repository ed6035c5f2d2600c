"""The services of the compose file: what runs natively is what the containers would run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.commands.init_env import COMPOSE_FILE

_VARIABLE = re.compile(r"\$(?:(\$)|\{([A-Z0-9_]+)(?::\?[^}]*)?\})")


@dataclass(frozen=True)
class Mount:
    """A file, folder or volume, and where a container sees it."""

    source: str
    target: str

    @property
    def is_volume(self) -> bool:
        return not self.source.startswith((".", "/"))


@dataclass(frozen=True)
class Service:
    """One service of the compose file, its variables filled in.

    Attributes:
        ports: those that it names in variables or publishes.
        healthcheck: the command that succeeds once it can be used; empty for a one-shot service.
        depends_on: service → `service_healthy` or `service_completed_successfully`.
    """

    name: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    mounts: tuple[Mount, ...]
    ports: frozenset[int]
    healthcheck: tuple[str, ...]
    depends_on: Mapping[str, str]

    @property
    def own_image(self) -> str:
        """The folder of `infra` that its image is built of; empty where it is somebody else's."""
        owner, _, image = self.image.partition("/")
        return image.partition(":")[0] if owner == "lakehouse" else ""

    @property
    def is_postgres(self) -> bool:
        """Whether it is a server of PostgreSQL; others use the programs in its image."""
        return self.image.startswith("postgres:") and bool(self.healthcheck)

    @property
    def is_mariadb(self) -> bool:
        """Whether it is a server of MariaDB."""
        return self.image.startswith("mariadb:")


def load(variables: Mapping[str, str], path: Path = COMPOSE_FILE) -> dict[str, Service]:
    """Read the compose file; a variable that is not given is a KeyError."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {
        name: _service(name, _filled(node, variables)) for name, node in content["services"].items()
    }


def _filled(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, variables) for value in node]
    if isinstance(node, str):
        return _VARIABLE.sub(lambda m: "$" if m[1] else variables[m[2]], node)
    return node


def _service(name: str, node: dict[str, Any]) -> Service:
    environment = {key: str(value) for key, value in node.get("environment", {}).items()}
    published = {int(port.rsplit(":", 1)[1]) for port in node.get("ports", [])}
    test = node.get("healthcheck", {}).get("test", ["CMD"])
    if test[0] != "CMD":
        raise ValueError(f"{name}: write the health check as [CMD, …]")
    return Service(
        name=name,
        image=node["image"],
        command=(*node.get("entrypoint", ()), *node.get("command", ())),
        environment=environment,
        mounts=tuple(Mount(*volume.split(":")[:2]) for volume in node.get("volumes", [])),
        ports=frozenset(published | _own_ports(name, environment)),
        healthcheck=tuple(test[1:]),
        depends_on={other: how["condition"] for other, how in node.get("depends_on", {}).items()},
    )


def _own_ports(name: str, environment: Mapping[str, str]) -> set[int]:
    return {
        int(value)
        for variable, value in environment.items()
        if variable.endswith("_PORT") and host_of(variable, environment, name) == name
    }


def host_of(variable: str, environment: Mapping[str, str], own: str) -> str:
    """The service whose port a variable `…_PORT` tells: that of `…_HOST`, else its own."""
    return environment.get(variable.removesuffix("_PORT") + "_HOST", own)
