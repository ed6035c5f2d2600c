"""Where the models of each target go: builds that share a catalog do not meet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.embedded.conftest import REPOSITORY


@pytest.mark.parametrize(
    ("target", "variables", "prefix"),
    [
        ("embedded", {}, ""),
        ("embedded", {"LAKEHOUSE_SCHEMA_PREFIX": "dev_"}, "dev_"),
        ("spark", {}, "spark_"),
    ],
)
def test_every_schema_that_dbt_writes_has_the_prefix(
    target: str, variables: dict[str, str], prefix: str, tmp_path: Path
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "LAKEHOUSE_SCHEMA_PREFIX"}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "dbt"), "parse", "--quiet", "--target", target,
         "--target-path", str(tmp_path), "--log-path", str(tmp_path)],
        cwd=REPOSITORY / "dbt_project", capture_output=True, text=True, check=False, timeout=120,
        env=environment | variables | {"LAKEHOUSE_HOME": str(tmp_path / "lake"),
                                       "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    written = {n["schema"] for n in manifest["nodes"].values() if n["resource_type"] == "model"}
    layers = ("staging", "intermediate", "marts", "features", "predictions")
    assert written == {f"{prefix}{layer}" for layer in layers}
    assert {source["schema"] for source in manifest["sources"].values()} == {"raw"}
