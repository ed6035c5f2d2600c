"""Alerts and dashboard stand on numbers that a landing tells; tests/stack tries them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from pipelines.cdc.decode import DISPOSITIONS
from pipelines.cdc.metrics import Metrics
from pipelines.commands.init_env import COMPOSE_FILE

INFRA = COMPOSE_FILE.parent / "infra"
PROMETHEUS: dict[str, Any] = yaml.safe_load((INFRA / "prometheus/prometheus.yml").read_text())
RULES = [
    rule
    for file in PROMETHEUS["rule_files"]
    for group in yaml.safe_load((INFRA / "prometheus" / file).read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((INFRA / "grafana/dashboards/landing.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
SERVICES = yaml.safe_load(COMPOSE_FILE.read_text())["services"]
EXPRESSIONS = {rule["alert"]: rule["expr"] for rule in RULES} | {
    f"panel {panel['title']}": target["expr"] for panel in PANELS for target in panel["targets"]
}
# Prometheus tells these of itself.
OWN = {"up", "ALERTS"}

each_expression = pytest.mark.parametrize("name", EXPRESSIONS)


def told() -> set[str]:
    return set(re.findall(r"^# TYPE (\w+)", Metrics().text(), re.MULTILINE))


@each_expression
def test_an_expression_asks_for_metrics_that_exist(name: str) -> None:
    expression = EXPRESSIONS[name]
    asked = set(re.findall(r"\blakehouse_\w+", expression))
    assert asked <= told()
    assert asked or any(re.search(rf"\b{own}\b", expression) for own in OWN)


@each_expression
def test_an_expression_asks_for_labels_and_values_that_exist(name: str) -> None:
    for label, value in re.findall(r'(\w+)="(\w+)"', EXPRESSIONS[name]):
        known = {
            "disposition": set(DISPOSITIONS),
            "job": {job["job_name"] for job in PROMETHEUS["scrape_configs"]},
            "alertstate": {"firing"},
        }
        assert value in known[label]


def test_lag_freshness_and_dead_letters_are_shown_and_watched() -> None:
    for asked in ("lag_messages", "newest_source_timestamp_seconds", 'disposition="dead"'):
        assert any(asked in rule["expr"] for rule in RULES), asked
        assert any(asked in t["expr"] for panel in PANELS for t in panel["targets"]), asked


def test_every_alert_has_a_severity_a_summary_and_a_remedy_and_is_in_the_docs() -> None:
    docs = (COMPOSE_FILE.parent / "docs/deploy/compose.md").read_text()
    for rule in RULES:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "remedy"}
        assert f"| {rule['alert']} |" in docs


def test_panels_lie_beside_each_other_and_read_the_source_that_is_provisioned() -> None:
    (source,) = yaml.safe_load(
        (INFRA / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )["datasources"]
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        assert panel["datasource"]["uid"] == source["uid"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        # Grafana's grid has 24 columns.
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_grafana_finds_its_files_and_prometheus_where_they_are() -> None:
    grafana = SERVICES["grafana"]
    provider = yaml.safe_load(
        (INFRA / "grafana/provisioning/dashboards/lakehouse.yml").read_text()
    )["providers"][0]
    (mount,) = [v for v in grafana["volumes"] if v.startswith("./infra/grafana:")]
    inside = mount.split(":")[1]
    assert provider["options"]["path"] == f"{inside}/dashboards"
    assert grafana["environment"]["GF_PATHS_PROVISIONING"] == f"{inside}/provisioning"
    targets = {
        target
        for job in PROMETHEUS["scrape_configs"]
        for group in job["static_configs"]
        for target in group["targets"]
    }
    assert f"grafana:{grafana['ports'][0].rsplit(':', 1)[1]}" in targets
    assert f"lander:{SERVICES['lander']['environment']['LANDER_PORT']}" in targets
