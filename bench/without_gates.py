"""`lakehouse run` as it would be without gates and lineage: `python -m bench.without_gates HOME`.

dbt builds all models and runs all its tests in one call; what it has built is published.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from pipelines import chain, records
from pipelines.lake.ids import new_run_id
from pipelines.quality.gatekeeper import Gatekeeper
from pipelines.records import Recorder
from pipelines.settings import EMBEDDED, Settings
from pipelines.transform import Build, BuildReport


@contextmanager
def _silent(settings: Settings, run_id: str, command: str) -> Iterator[Any]:
    yield MagicMock(run=MagicMock(run_id=run_id))


def _build_alone(
    settings: Settings, recorder: Recorder, keeper: Gatekeeper, on_progress: chain.Progress
) -> BuildReport:
    build = Build(settings)
    if not build.report.skipped:
        build.make()
        build.accept()
    recorder.finished("build")
    return build.report


def main() -> None:
    """Run the chain once, with its two steps left out."""
    records.recording = _silent
    chain._build_checked = _build_alone
    settings = Settings(home=Path(sys.argv[1]).absolute(), _env_file=None)
    assert settings.target == EMBEDDED
    report = chain.run(settings, command=f"bench {new_run_id()}")
    assert report.manifest is not None


if __name__ == "__main__":
    main()
