"""The command `lakehouse init-env`: secrets for the services in containers."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Annotated

import typer

from pipelines.errors import LakehouseError
from pipelines.settings import REPOSITORY
from pipelines.terminal import out

COMPOSE_FILE = REPOSITORY / "docker-compose.lakehouse.yml"
_WANTED = re.compile(r"\$\{([A-Z0-9_]+):\?")
_TOLD = re.compile(r"^\s*(?:export\s+)?([A-Z0-9_]+)=", re.MULTILINE)


def wanted_secrets(compose_file: Path = COMPOSE_FILE) -> list[str]:
    """Names of the variables without which the compose file does not start.

    Raises:
        LakehouseError: the file is not there.
    """
    try:
        return sorted(set(_WANTED.findall(compose_file.read_text(encoding="utf-8"))))
    except FileNotFoundError:
        raise LakehouseError(
            f"{compose_file} is missing", "run this command from a clone of the repository"
        ) from None


def add_secrets(file: Path, names: list[str]) -> list[str]:
    """Append a random secret for each name that the file does not tell; returns those names.

    What stands in the file stays. Only its owner may read it.
    """
    former = file.read_text(encoding="utf-8") if file.exists() else ""
    told = set(_TOLD.findall(former))
    added = [name for name in names if name not in told]
    if added:
        lines = "".join(f"{name}={secrets.token_urlsafe(24)}\n" for name in added)
        file.touch(mode=0o600)
        file.chmod(0o600)
        with file.open("a", encoding="utf-8") as handle:
            handle.write(("" if not former or former.endswith("\n") else "\n") + lines)
    return added


def init_env(
    file: Annotated[Path, typer.Option(help="File of variables that compose reads.")] = Path(
        ".env"
    ),
) -> None:
    """Write the secrets that docker-compose.lakehouse.yml wants; those that are there stay."""
    added = add_secrets(file, wanted_secrets())
    if added:
        out.print(f"{file}: added {', '.join(added)}", highlight=False)
        out.print("Databases take their passwords when they are first started: keep this file.")
    else:
        out.print(f"{file} has all secrets already", highlight=False)
