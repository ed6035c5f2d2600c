"""The tutorial "Add a source table", executed as it stands in the docs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.markdown_blocks import Block, blocks

REPOSITORY = Path(__file__).resolve().parents[2]
TUTORIAL = REPOSITORY / "docs" / "tutorial-new-table.md"
_LAKEHOUSE = ".venv/bin/lakehouse"


def place(name: str, folder: Path) -> Path:
    """Where the tutorial's file names point to."""
    return folder / name if name.startswith("captures/") else folder / "dbt_project" / name


def write(block: Block, folder: Path) -> None:
    """Apply a file block: a new file, or more text at the end of an old one."""
    how, _, name = block.does.partition("=")
    path = place(name, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    if how == "append":
        assert path.exists(), f"{name} is to be continued, but is not there"
        with path.open("a", encoding="utf-8") as handle:
            handle.write(block.text)
    else:
        assert not path.exists(), f"{name} is to be new, but is there"
        path.write_text(block.text, encoding="utf-8")


def run(script: str, folder: Path, home: Path) -> str:
    """Run a bash block as a reader would, in a lake below the test's folder."""
    python = f'"{sys.executable}" -m pipelines.cli'
    script = re.sub(r"\$\(mktemp -d\)/lake", str(home), script).replace(_LAKEHOUSE, python)
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ
        | {
            "LAKEHOUSE_PROJECT_DIR": str(folder / "dbt_project"),
            "LAKEHOUSE_HOME": str(home),
            "PYTHONPATH": str(REPOSITORY),
        },
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def query(sql: str, folder: Path, home: Path) -> list[list[str]]:
    """Rows of the lake, as text."""
    out = run(f'{_LAKEHOUSE} sql --format csv "{sql}"', folder, home)
    return [line.split(",") for line in out.splitlines()[1:]]


def test_a_new_table_costs_one_entry_and_one_staging_model(tmp_path: Path) -> None:
    """Create, then update and delete: stg_supplier follows, and the docs show what is printed."""
    folder, home = tmp_path / "checkout", tmp_path / "home" / "lake"
    shutil.copytree(
        REPOSITORY / "dbt_project",
        folder / "dbt_project",
        ignore=shutil.ignore_patterns("target", "logs"),
    )
    staged = "select supplier_id, supplier_name, country_code, rating from staging.stg_supplier"
    states: list[list[list[str]]] = []
    printed = ""
    for block in blocks(TUTORIAL.read_text(encoding="utf-8")):
        if block.does.startswith(("file=", "append=")):
            write(block, folder)
        elif block.language == "bash":
            printed = run(block.text, folder, home)
            states.append(query(f"{staged} order by all", folder, home))
        elif block.does == "output":
            assert printed.split() == block.text.split()

    assert states[0] == [
        ["1", "Blue Ridge Dairy", "US", "4.50"],
        ["2", "Harbour Mills", "CA", "3.75"],
        ["3", "Green Valley Farms", "US", "4.10"],
    ]
    assert states[-1] == [
        ["1", "Blue Ridge Dairy", "US", "4.80"],
        ["2", "Harbour Mills", "CA", "3.75"],
    ]
    assert not any(path.suffix == ".py" for path in folder.rglob("*")), "no Python was needed"
