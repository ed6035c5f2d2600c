"""What a run tells of itself, and whether OpenLineage's schema takes it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from pipelines.cdc.kafka import KafkaSource
from pipelines.cdc.land import LandReport, TopicReport
from pipelines.lake.ids import new_run_id
from pipelines.lake.publish import Manifest, Published
from pipelines.lineage import store
from pipelines.lineage.events import Dataset
from pipelines.lineage.facets import Check
from pipelines.lineage.recording import recording
from pipelines.settings import Settings
from tests import openlineage


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "lake", _env_file=None)


def kept(settings: Settings) -> list[dict[str, Any]]:
    """The events of all runs; each is as the specification wants it."""
    events = list(store.events(settings))
    assert [openlineage.errors(event) for event in events] == [[]] * len(events)
    return events


def ends(settings: Settings) -> dict[str, dict[str, Any]]:
    return {e["job"]["name"]: e for e in kept(settings) if e["eventType"] != "START"}


def test_each_step_is_a_run_of_its_own_whose_parent_is_the_run(settings: Settings) -> None:
    run_id = new_run_id()
    with recording(settings, run_id, "lakehouse run") as lineage, lineage.step("features") as step:
        step.reads(Dataset("lakehouse", "marts.fct_sale"))
        step.writes(Dataset("lakehouse", "features.client"))
    told = [(e["eventType"], e["job"]["name"]) for e in kept(settings)]
    assert told == [
        ("START", "lakehouse run"),
        ("START", "features"),
        ("COMPLETE", "features"),
        ("COMPLETE", "lakehouse run"),
    ]
    end = ends(settings)["features"]
    parent = end["run"]["facets"]["parent"]
    assert parent["run"]["runId"] == parent["root"]["run"]["runId"] == run_id
    assert parent["job"]["name"] == "lakehouse run"
    assert end["run"]["runId"] != run_id
    assert [one["name"] for one in end["inputs"]] == ["marts.fct_sale"]
    assert [one["name"] for one in end["outputs"]] == ["features.client"]


def test_a_step_that_fails_ends_it_and_the_run_with_the_reason(settings: Settings) -> None:
    with (
        pytest.raises(RuntimeError, match="no room"),
        recording(settings, new_run_id(), "lakehouse run") as lineage,
        lineage.step("land"),
    ):
        raise RuntimeError("no room")
    for name in ("land", "lakehouse run"):
        assert ends(settings)[name]["eventType"] == "FAIL"
        assert ends(settings)[name]["run"]["facets"]["errorMessage"]["message"] == "no room"


def landing() -> LandReport:
    sale, client = TopicReport("shop.public.sale"), TopicReport("shop.public.client")
    sale.counts.update(landed=3, dead=1)
    client.counts.update(landed=2)
    client.last_batch_id = "20260101T000000000000-abcdef"
    nothing = TopicReport("shop.public.order")
    return LandReport({one.topic: one for one in (sale, client, nothing)})


def test_a_landing_tells_of_each_table_with_news_where_it_came_from(settings: Settings) -> None:
    with recording(settings, new_run_id(), "r") as lineage, lineage.step("land") as step:
        step.landed(landing(), None, datetime.now(UTC))
    found = ends(settings)
    assert set(found) == {"r", "land", "land.shop.public.sale", "land.shop.public.client"}
    sale = found["land.shop.public.sale"]
    assert [(one["namespace"], one["name"]) for one in sale["inputs"]] == [
        ("postgres://shop", "shop.public.sale"),
        ("file", str(settings.inbox / "shop.public.sale")),
    ]
    assert sale["inputs"][1]["inputFacets"]["inputStatistics"]["rowCount"] == 4
    (raw,) = sale["outputs"]
    assert raw["name"] == "raw.shop_public_sale"
    assert raw["outputFacets"]["outputStatistics"]["rowCount"] == 3
    assert sale["run"]["facets"]["parent"]["job"]["name"] == "land"
    assert sale["run"]["facets"]["parent"]["root"]["job"]["name"] == "r"


def test_masked_columns_are_told_as_such_and_dropped_ones_have_no_output(
    settings: Settings,
) -> None:
    with recording(settings, new_run_id(), "r") as lineage, lineage.step("land") as step:
        step.landed(landing(), None, datetime.now(UTC))
    (raw,) = ends(settings)["land.shop.public.client"]["outputs"]
    fields = raw["facets"]["columnLineage"]["fields"]
    assert "full_name" not in fields
    assert "full_name" not in [one["name"] for one in raw["facets"]["schema"]["fields"]]
    (origin,) = fields["email"]["inputFields"]
    assert (origin["name"], origin["field"]) == ("shop.public.client", "email")
    assert origin["transformations"] == [
        {
            "type": "DIRECT",
            "subtype": "TRANSFORMATION",
            "masking": True,
            "description": "keyed hash",
        }
    ]
    (origin,) = fields["city"]["inputFields"]
    assert origin["transformations"] == [{"type": "DIRECT", "subtype": "IDENTITY"}]
    assert raw["facets"]["version"]["datasetVersion"] == "20260101T000000000000-abcdef"


def test_a_landing_from_kafka_names_the_topic(settings: Settings) -> None:
    with recording(settings, new_run_id(), "r") as lineage, lineage.step("land") as step:
        step.landed(landing(), KafkaSource("broker:9092,other:9092"), datetime.now(UTC))
    inputs = ends(settings)["land.shop.public.sale"]["inputs"]
    assert (inputs[1]["namespace"], inputs[1]["name"]) == (
        "kafka://broker:9092",
        "shop.public.sale",
    )


def test_a_landing_that_goes_on_tells_of_each_table_with_its_first_batch(
    settings: Settings,
) -> None:
    report, began = landing(), datetime.now(UTC)
    client = report.topics.pop("shop.public.client")
    with recording(settings, new_run_id(), "r") as lineage, lineage.step("land") as step:
        step.landed(report, None, began, goes_on=True)
        step.landed(report, None, began, goes_on=True)
        report.topics[client.topic] = client
        step.landed(report, None, began, goes_on=True)
        assert ends(settings)["land.shop.public.sale"]["eventType"] == "RUNNING"
        report.topics["shop.public.sale"].counts["landed"] = 100
        step.landed(report, None, began)
    for topic, rows in (("sale", 100), ("client", 2)):
        told = [e for e in kept(settings) if e["job"]["name"] == f"land.shop.public.{topic}"]
        assert [event["eventType"] for event in told] == ["START", "RUNNING", "COMPLETE"]
        assert len({event["run"]["runId"] for event in told}) == 1
        (raw,) = told[-1]["outputs"]
        assert raw["outputFacets"]["outputStatistics"]["rowCount"] == rows


def test_a_gate_tells_each_check_of_each_table(settings: Settings) -> None:
    checks = [Check("not_null", True, "client_id"), Check("row_count", False, severity="warn")]
    with recording(settings, new_run_id(), "r") as lineage, lineage.step("gate.staging") as step:
        step.checked({"staging.stg_sale": checks})
    (table,) = ends(settings)["gate.staging"]["inputs"]
    assert table["name"] == "staging.stg_sale"
    assert table["inputFacets"]["dataQualityAssertions"]["assertions"] == [
        {"assertion": "not_null", "success": True, "severity": "error", "column": "client_id"},
        {"assertion": "row_count", "success": False, "severity": "warn"},
    ]


def test_a_publication_tells_what_this_run_has_written_and_its_version(settings: Settings) -> None:
    run_id = new_run_id()
    written = Published("marts/a", 3, 12, run_id, ["id BIGINT", "amount DECIMAL(18,2)"], {})
    former = Published("marts/b", 1, 12, new_run_id(), ["id BIGINT"], {})
    manifest = Manifest(run_id, "b", "now", None, {"marts.a": written, "marts.b": former})
    with recording(settings, run_id, "r") as lineage, lineage.step("publish") as step:
        step.published(manifest)
    (table,) = ends(settings)["publish"]["outputs"]
    assert table["name"] == "marts.a"
    assert table["facets"]["version"]["datasetVersion"] == "3"
    assert table["facets"]["symlinks"]["identifiers"][0]["name"] == str(
        settings.published / "marts/a"
    )
    fields = table["facets"]["schema"]["fields"]
    assert [(one["name"], one["type"]) for one in fields] == [
        ("id", "BIGINT"),
        ("amount", "DECIMAL(18,2)"),
    ]


def test_lineage_that_cannot_be_written_or_made_does_not_fail_a_run(settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "lineage").write_text("a file where a folder should be")
    with (
        structlog.testing.capture_logs() as logs,
        recording(settings, new_run_id(), "r") as lineage,
        lineage.step("build") as step,
    ):
        step.built([object()])
    told = [entry["event"] for entry in logs if entry["log_level"] == "warning"]
    assert told == ["lineage not kept", "build has no lineage"]


Breaker = Callable[[dict[str, Any], dict[str, Any]], object]
# Each is given an event and the facets of its output.
BREAKERS: dict[str, Breaker] = {
    "no run id": lambda e, f: e["run"].pop("runId"),
    "a run id that is no UUID": lambda e, f: e["run"].update(runId="20260101"),
    "another state": lambda e, f: e.update(eventType="DONE"),
    "a time without zone": lambda e, f: e.update(eventTime="2026-01-01T00:00:00"),
    "a job without namespace": lambda e, f: e["job"].pop("namespace"),
    "inputs that are no list": lambda e, f: e.update(inputs={}),
    "another schema": lambda e, f: e.update(schemaURL="https://openlineage.io/spec/1-0-0"),
    "a facet without producer": lambda e, f: f["schema"].pop("_producer"),
    "a schema that there is not": lambda e, f: f["schema"].update(_schemaURL="https://x/y"),
    "a job's facet at a table": lambda e, f: f.update(jobType=e["job"]["facets"]["jobType"]),
    "a facet under another name": lambda e, f: f.update(schemas=f.pop("schema")),
    "a number as text": lambda e, f: e["outputs"][0]["outputFacets"]["outputStatistics"].update(
        rowCount="3"
    ),
    "a field without name": lambda e, f: f["schema"]["fields"][0].pop("name"),
    "a key that the facet has not": lambda e, f: f["version"].update(number=3),
}


@pytest.mark.parametrize("broken", BREAKERS)
def test_the_schema_does_not_take_a_broken_event(settings: Settings, broken: str) -> None:
    with recording(settings, new_run_id(), "r") as lineage, lineage.step("land") as step:
        step.landed(landing(), None, datetime.now(UTC))
    event = ends(settings)["land.shop.public.client"]
    assert openlineage.errors(event) == []
    BREAKERS[broken](event, event["outputs"][0]["facets"])
    assert openlineage.errors(event) != []
