"""A small real slice of the shop, run once through the whole chain for all tests here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
CLIENTS = 12


@dataclass(frozen=True)
class Lakehouse:
    """The command line on one home."""

    home: Path

    def __call__(self, *arguments: str, env: dict[str, str] | None = None) -> Any:
        return subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "--home", str(self.home), *arguments],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=600,
            env=os.environ | (env or {}),
            check=False,
        )

    def good(self, *arguments: str) -> str:
        """Run, insist on exit code 0, return standard output."""
        done = self(*arguments)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    def sql(self, query: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.good("sql", query, "--format", "json"))
        return rows

    def dbt(self, *arguments: str) -> Any:
        """Run dbt as an analyst does: in the project's folder, with the profile that lies there."""
        return subprocess.run(
            [str(Path(sys.executable).parent / "dbt"), *arguments],
            cwd=REPOSITORY / "dbt_project",
            capture_output=True,
            text=True,
            timeout=600,
            env=os.environ | {"LAKEHOUSE_HOME": str(self.home)},
            check=False,
        )


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Lakehouse:
    """A home after `lakehouse demo` for a few clients; tests must leave it as it is."""
    lakehouse = Lakehouse(tmp_path_factory.mktemp("demo") / "lake")
    lakehouse.good("demo", "--clients", str(CLIENTS), "--no-models")
    return lakehouse
