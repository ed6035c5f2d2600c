"""Prometheus' own tool reads its configuration, plays the alerts, and parses the dashboard."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.stack.native.components import REPOSITORY, install_promtool

INFRA = REPOSITORY / "infra"


@pytest.fixture(scope="module")
def promtool() -> Path:
    return install_promtool()


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_reads_its_configuration(promtool: Path) -> None:
    assert "5 rules found" in run(promtool, "check", "config", INFRA / "prometheus/prometheus.yml")


def test_alerts_come_when_they_should_and_not_otherwise(promtool: Path) -> None:
    run(promtool, "test", "rules", REPOSITORY / "tests/stack/landing.rules.test.yml")


def test_the_dashboard_asks_what_prometheus_understands(promtool: Path, tmp_path: Path) -> None:
    dashboard = json.loads((INFRA / "grafana/dashboards/landing.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = [{"record": f"panel:{n}", "expr": expression} for n, expression in enumerate(asked)]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(asked)} rules found" in run(promtool, "check", "rules", file)
