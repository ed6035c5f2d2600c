"""Recorded events of SQL Server are what the connector makes of rows; no server is needed."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.stack.native.components import REPOSITORY, Components
from tests.unit.test_sqlserver import AS_CONFIGURED, BY_DEFAULT

PROGRAM = Path(__file__).with_name("sqlserver") / "Envelopes.java"
CONNECTOR = REPOSITORY / "infra" / "sqlserver" / "connector.json"
# What our connector file tells, and connectors do not do by themselves.
OURS = ("decimal.handling.mode", "time.precision.mode")


@pytest.mark.parametrize(("recorded", "is_ours"), [(AS_CONFIGURED, True), (BY_DEFAULT, False)])
def test_the_connector_makes_the_recorded_events(
    components: Components, tmp_path: Path, recorded: Path, is_ours: bool
) -> None:
    told = json.loads(CONNECTOR.read_text())
    settings = {
        name: re.sub(r"\$\{env:\w+\}", "1433", value)
        for name, value in told.items()
        if is_ours or name not in OURS
    }
    properties = tmp_path / "connector.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    jars = f"{components.plugins}/debezium-connector-sqlserver/*:{components.kafka_jars}/*"
    # Events as ours are sent without a schema, others with one.
    made = subprocess.run(
        ["java", "-cp", jars, str(PROGRAM), str(properties), str(not is_ours).lower()],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr[-2000:]
    assert made.stdout == recorded.read_text()
