"""dbt models run in a process of their own, and what each of them cost."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.measure import Cost, python

_DBT = """
import sys
from dbt.cli.main import dbtRunner
outcome = dbtRunner().invoke(sys.argv[1:])
if not outcome.success:
    failed = [result.message for result in getattr(outcome.result, "results", ())]
    sys.exit(f"dbt: {outcome.exception or failed}")
"""


@dataclass(frozen=True)
class Run:
    """One `dbt run`: seconds in the engine by kind of model (`base`, `hist`, `dim`), and all."""

    engine_s: dict[str, float]
    cost: Cost


def run_models(project: Path, home: Path, *names: str) -> Run:
    """Run the models named, or all of a project, on the lake at `home`."""
    selected = ["--select", *names] if names else []
    target = home / "dbt"
    cost = python(
        _DBT, "run", *selected, "--quiet", f"--project-dir={project}",
        f"--profiles-dir={project}", f"--target-path={target}", f"--log-path={home / 'logs'}",
        env={"LAKEHOUSE_HOME": str(home), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
    )  # fmt: skip
    spent: defaultdict[str, float] = defaultdict(float)
    for result in json.loads((target / "run_results.json").read_text())["results"]:
        kind = str(result["unique_id"]).split(".")[-1].split("_")[0]
        for timing in result["timing"]:
            if timing["name"] == "execute":
                began, ended = (
                    datetime.fromisoformat(timing[name]).astimezone(UTC)
                    for name in ("started_at", "completed_at")
                )
                spent[kind] += (ended - began).total_seconds()
    return Run(dict(spent), cost)
