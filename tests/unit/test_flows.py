"""Flows without a server: their names, their parameters, what is tried again, who is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from prefect import Flow
from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ParameterTypeError
from prefect.states import exception_to_failed_state
from prefect.utilities.asyncutils import run_coro_as_sync

from pipelines.dbt_project import BuildFailed, Failure
from pipelines.errors import LakehouseError, Unavailable, UsageError
from pipelines.flows.backfill import backfill
from pipelines.flows.ingest import ingest
from pipelines.flows.maintain import maintain
from pipelines.lake.lock import Busy
from pipelines.lake.publish import Manifest, Published
from pipelines.orchestration import alarms, pauses, recipients
from pipelines.orchestration.deploy import _clocks, _names
from pipelines.orchestration.endings import after_publishing
from pipelines.orchestration.links import FOLLOWS, links
from pipelines.orchestration.surroundings import settings_of_worker
from pipelines.orchestration.tasks import LIMITS, is_worth_another_try
from pipelines.settings import REPOSITORY, Settings

CONTENT = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())
DEPLOYMENTS: list[dict[str, Any]] = CONTENT["deployments"]
SERVED = {"redis": "redis://here", "feature_registry": "postgresql://here/feast"}
MODULES = {path.stem for path in (REPOSITORY / "pipelines" / "flows").glob("[a-z]*.py")}

# Names


def test_each_module_is_a_flow_and_a_deployment_of_the_same_name() -> None:
    assert {deployment["name"] for deployment in DEPLOYMENTS} == MODULES
    for deployment in DEPLOYMENTS:
        name = deployment["name"]
        assert deployment["entrypoint"] == f"pipelines.flows.{name}.{name}"
        flow = getattr(import_module(f"pipelines.flows.{name}"), name)
        assert isinstance(flow, Flow)
        assert flow.name == name
        assert flow.on_failure_hooks


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_each_deployment_is_watched_and_runs_once_at_a_time(deployment: dict[str, Any]) -> None:
    assert deployment["tags"] == ["lakehouse"]
    assert deployment["concurrency_limit"]["limit"] == 1
    assert deployment["work_pool"]["name"] == "lakehouse"
    beat = deployment["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]
    # One may be lost on the way; and a crash is to be known within 90 seconds.
    assert 2 * int(beat) < alarms.SILENCE.seconds < 85


def test_prefect_yaml_names_the_release_that_is_locked() -> None:
    lock = (REPOSITORY / "requirements" / "stack.lock").read_text()
    assert f"\nprefect=={CONTENT['prefect-version']} " in lock
    server = (REPOSITORY / "infra" / "prefect" / "requirements.txt").read_text()
    assert f"\nprefect=={CONTENT['prefect-version']} " in server


@pytest.mark.parametrize(
    ("given", "are_served"),
    [
        ({"target": "trino"}, False),
        ({"target": "trino", **SERVED}, True),
        ({"target": "spark", **SERVED}, False),
    ],
)
def test_on_a_server_only_what_can_run_there_is_deployed(
    given: dict[str, Any], are_served: bool, tmp_path: Path
) -> None:
    told = _names(
        _clocks(REPOSITORY / "prefect.yaml"), Settings(home=tmp_path, _env_file=None, **given)
    )
    assert ("features" in told) is are_served
    assert {"daily", "ingest", "maintain"} <= set(told)
    assert ("train_forecast" in told) == (given["target"] == "trino")


# Parameters


@pytest.mark.parametrize(
    ("flow", "parameters"),
    [
        (maintain, {"keep_hours": 0}),
        (maintain, {"keep_hours": "a week"}),
        (ingest, {"most_dead_letters": -1}),
        (backfill, {"start": "2017-02-30", "until": "2017-03-01"}),
    ],
)
def test_a_parameter_out_of_range_is_refused(
    flow: Flow[..., Any], parameters: dict[str, object]
) -> None:
    with pytest.raises(ParameterTypeError):
        flow.validate_parameters(parameters)


def test_good_parameters_are_taken() -> None:
    assert maintain.validate_parameters({"keep_hours": 200})["keep_hours"] == 200
    days = backfill.validate_parameters({"start": "2017-02-01", "until": "2017-03-01"})
    assert str(days["start"]) == "2017-02-01"


# Retries


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (Busy("another run is on", "wait"), True),
        (Unavailable("the store is away", "start it"), True),
        (LakehouseError("the contract is broken", "correct it"), False),
        (BuildFailed([Failure("not_null", "test", ["stg_sale"], "3 rows")]), False),
        (KeyError("a bug of ours"), False),
    ],
)
def test_only_what_may_be_over_soon_is_tried_again(error: Exception, again: bool) -> None:
    state = run_coro_as_sync(exception_to_failed_state(error))
    judge: Callable[..., bool] = is_worth_another_try
    assert judge(None, None, state) is again


def test_a_try_of_each_step_is_limited() -> None:
    assert all(0 < limits.minutes <= 240 for limits in LIMITS.values())
    assert all(0 < limits.retries <= 6 for limits in LIMITS.values())


# Alarms


def test_without_recipients_dead_runs_are_cared_for_all_the_same() -> None:
    assert alarms.alarms([], timedelta(hours=1)) == []
    crashed, again = alarms.care_for_runs()
    assert crashed.trigger.within == alarms.SILENCE
    # A worker of Prefect 3.8.8 dies of a retry that comes at once.
    assert again.trigger.within >= timedelta(seconds=15)


def test_each_alarm_goes_to_each_recipient() -> None:
    blocks = [uuid4(), uuid4()]
    for alarm in alarms.alarms(blocks, timedelta(hours=26)):
        assert [action.block_document_id for action in alarm.actions] == blocks


def test_recipients_are_blocks_that_keep_their_addresses_secret(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path,
        notify_webhook="https://example.com/secret-hook",
        notify_slack="https://hooks.example.com/services/secret",
        notify_smtp="smtps://ops:pass@mail.example.com",
        notify_email_from="lake@example.com",
        notify_email_to="ops@example.com",
    )
    found = recipients.blocks(settings)
    assert list(found) == ["lakehouse-webhook", "lakehouse-slack", "lakehouse-email"]
    slack, mail = found["lakehouse-slack"], found["lakehouse-email"]
    assert isinstance(slack, CustomWebhookNotificationBlock)
    assert slack.json_data == {"text": "*{{subject}}*\n{{body}}"}
    assert isinstance(mail, SlackWebhook)
    address = mail.url.get_secret_value()
    assert address.startswith("mailtos://ops:pass@mail.example.com:587/?")
    shown = " ".join(repr(block) for block in found.values())
    assert "secret" not in shown.replace("secrets", "")
    assert "pass@" not in shown


def test_a_server_for_e_mail_without_sender_is_refused(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, notify_smtp="smtp://localhost")
    with pytest.raises(UsageError, match="who writes to whom"):
        recipients.blocks(settings)


# Links

IDS = {name: uuid4() for name in MODULES}


def test_nothing_that_follows_others_is_started_by_the_clock_too() -> None:
    clocked = {each["name"] for each in DEPLOYMENTS if each["schedules"]}
    assert clocked.isdisjoint(FOLLOWS)
    named = {other for others in FOLLOWS.values() for other in others} | set(FOLLOWS)
    assert named <= MODULES


def test_a_link_runs_one_deployment_when_one_of_those_before_it_has_completed() -> None:
    for name, link in zip(FOLLOWS, links(IDS), strict=True):
        (action,) = link.actions
        assert action.deployment_id == IDS[name]
        # A run that found nothing new ends by another name.
        assert link.trigger.expect == {"prefect.flow-run.Completed"}
        assert link.trigger.match_related["prefect.resource.id"] == [
            f"prefect.deployment.{IDS[other]}" for other in FOLLOWS[name]
        ]


def test_a_circle_of_links_is_left_by_a_drift_that_promotes_nobody() -> None:
    """Only trainings lead back, and those end as `Unchanged` where no champion is new."""
    order = TopologicalSorter({name: set(others) - {"drift"} for name, others in FOLLOWS.items()})
    assert set(order.static_order()) >= set(FOLLOWS)


def test_what_is_not_deployed_neither_follows_nor_is_followed() -> None:
    ids = {name: IDS[name] for name in ("daily", "ingest", "batch_inference")}
    (link,) = links(ids)
    assert link.trigger.match_related["prefect.resource.id"] == [
        f"prefect.deployment.{IDS['daily']}"
    ]
    assert links({name: IDS[name] for name in ("daily", "ingest", "transform")}) == []


def test_the_link_of_what_is_paused_begins_paused() -> None:
    told = {link.name: link.enabled for link in links(IDS, {"features"})}
    assert [name for name, is_on in told.items() if not is_on] == ["lakehouse: features follows"]


def schedule(*, active: bool) -> DeploymentSchedule:
    return DeploymentSchedule(
        schedule=CronSchedule(cron="0 4 * * *"), active=active, slug="nightly"
    )


@pytest.mark.parametrize(
    ("told", "is_paused"),
    [
        ({"paused": True}, True),
        ({"schedules": [schedule(active=False)]}, True),
        ({"schedules": [schedule(active=False), schedule(active=True)]}, False),
        ({"schedules": []}, False),
    ],
)
def test_what_counts_as_paused(told: dict[str, Any], is_paused: bool) -> None:
    found = DeploymentResponse(flow_id=uuid4(), name="features", **told)
    assert list(pauses.paused({"features": found})) == ["features"] * is_paused


@pytest.mark.parametrize(("written_in", "ends"), [("this", None), ("another", "Unchanged")])
def test_a_run_that_published_nothing_new_ends_as_unchanged(
    written_in: str, ends: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path, _env_file=None)
    table = Published("marts/fct_sale", 0, 1, written_in, ["sale_id"], {})
    manifest = Manifest("another", "build", "2017-03-01T00:00:00+00:00", "2017-02-28")
    manifest.tables["marts.fct_sale"] = table
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "this")
    monkeypatch.setattr("pipelines.orchestration.endings.shown", lambda _: manifest)
    state = after_publishing(settings)
    assert (state and state.name) == ends
    assert state is None or state.is_completed()


# Surroundings


def python(code: str, **told: str) -> subprocess.CompletedProcess[str]:
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("PREFECT", "LAKEHOUSE"))}
    return subprocess.run(
        [sys.executable, "-c", code], env=kept | told, cwd=REPOSITORY, capture_output=True,
        text=True, check=False, timeout=120,
    )  # fmt: skip


def test_the_command_line_never_imports_prefect() -> None:
    done = python(
        "import sys; from pipelines import chain, cli, transform, backfill, maintain; "
        "print([name for name in sys.modules if name.startswith('prefect')])"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_flow_without_a_server_is_refused_instead_of_starting_one(tmp_path: Path) -> None:
    began = time.monotonic()
    done = python(
        "from pipelines.flows.quality import quality; quality()", PREFECT_HOME=str(tmp_path)
    )
    assert done.returncode != 0
    assert "No Prefect API URL provided" in done.stderr
    assert time.monotonic() - began < 60


def test_a_flow_refuses_a_home_that_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", "lake")
    with pytest.raises(UsageError, match="leads nowhere"):
        settings_of_worker()


def test_settings_are_handed_over_as_variables(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, kafka="localhost:9092", trino_host="trino", threads=3)
    variables = settings.model_copy(update={"prefect_api_url": "http://localhost:4200/api"})
    found = variables.variables()
    assert found["LAKEHOUSE_HOME"] == str(tmp_path)
    assert found["LAKEHOUSE_THREADS"] == "3"
    assert found["PREFECT_API_URL"] == "http://localhost:4200/api"
    assert "LAKEHOUSE_STORE" not in found
    code = "from pipelines.settings import load_settings as l; print(l().model_dump_json())"
    told = json.loads(python(code, **found).stdout)
    assert told == json.loads(variables.model_dump_json())


@pytest.mark.parametrize("words", [[], ["deploy"], ["work"], ["tell"]])
def test_flows_of_no_server_are_refused_with_a_remedy(words: list[str], tmp_path: Path) -> None:
    done = python(
        f"from pipelines.cli import app; app(['--home', '{tmp_path}', 'flows', *{words}])"
    )
    assert done.returncode != 0
    if words:
        assert "tell its address by PREFECT_API_URL" in done.stderr
