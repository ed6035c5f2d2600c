"""Running a job of `spark_jobs` as a user would, on a Spark of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

from tests.stack.native.components import REPOSITORY, Components
from tests.stack.native.stack import SPARK_OPTIONS

_SECONDS = 420
_LOGGING = REPOSITORY / "infra" / "spark" / "log4j2.properties"


def submit(
    components: Components, script: str, variables: Mapping[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a script of the repository to its end, with `spark-submit`."""
    return subprocess.run(
        [
            str(components.spark / "bin" / "spark-submit"),
            "--master", "local[2]", "--driver-memory", "1g",
            "--driver-class-path", f"{components.spark_jars}/*",
            "--conf", "spark.ui.enabled=false",
            "--conf", "spark.sql.shuffle.partitions=2",
            str(REPOSITORY / script), *arguments,
        ],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=_SECONDS,
        # A group of its own: a job that kills itself takes all of that along, and nothing else.
        start_new_session=True,
        env=os.environ | variables | {
            "SPARK_HOME": str(components.spark),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "JDK_JAVA_OPTIONS": f"{SPARK_OPTIONS} -Dlog4j2.configurationFile={_LOGGING}",
        },
    )  # fmt: skip


def finished(job: subprocess.CompletedProcess[str]) -> str:
    """What a job printed, if it ended well; `spark-submit` prints its errors there, too."""
    assert job.returncode == 0, (job.stdout[-4000:], job.stderr[-2000:])
    return job.stdout
