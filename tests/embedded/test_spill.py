"""What does not fit into memory spills into the lake's own folder, and dbt goes on after it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import yaml

from tests.embedded.dbt_helpers import PROJECT

# Some 260 MB, sorted: several times the memory that the run gets.
LARGE = (
    "select n, repeat(md5(cast(n as varchar)), 4) as text from range(2000000) as r(n) order by 2"
)


def test_a_model_after_one_that_spilled_is_built(tmp_path: Path) -> None:
    home, project = tmp_path / "lake", tmp_path / "project"
    (project / "models").mkdir(parents=True)
    (home / "tmp").mkdir(parents=True)
    (project / "dbt_project.yml").write_text(
        yaml.safe_dump(
            {"name": "spill", "profile": "lakehouse", "models": {"+materialized": "table"}}
        )
    )
    (project / "profiles.yml").write_text((PROJECT / "profiles.yml").read_text())
    (project / "models" / "large.sql").write_text(LARGE)
    (project / "models" / "next.sql").write_text(
        "select count(distinct text) as texts from {{ ref('large') }}"
    )
    done = subprocess.run(
        [str(Path(sys.executable).parent / "dbt"), "run", "--profiles-dir", str(project)],
        cwd=project,
        env=os.environ
        | {
            "LAKEHOUSE_HOME": str(home),
            "LAKEHOUSE_MEMORY_LIMIT": "150MB",
            "PYTHONPATH": str(PROJECT.parent),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        assert connection.execute("select texts from main.next").fetchall() == [(2_000_000,)]
