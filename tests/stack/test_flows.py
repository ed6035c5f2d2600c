"""Flows on Prefect's real server: the result of `lakehouse run`, whatever is killed on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from pipelines.lake.publish import read_manifest
from pipelines.orchestration import alarms
from pipelines.orchestration.links import FOLLOWS
from tests.stack.native.loopback import LOOPBACK, free_ports
from tests.stack.native.stack import Stack
from tests.stack.prefect_client import Prefect, within
from tests.stack.receivers import mail, webhook

CLIENTS = "2"
UNTIL = "2017-03-01"
# What is promised of a run that died; of one that ends by itself, plenty for a busy machine.
CRASHED_SECONDS, DONE_SECONDS = 90, 180
ENDED = {"Completed", "Unchanged", "Failed", "Crashed", "Cancelled", "TimedOut"}


@pytest.fixture(scope="module")
def hook() -> Iterator[tuple[str, list[str]]]:
    with webhook() as found:
        yield found


@pytest.fixture(scope="module")
def letters() -> Iterator[tuple[str, list[str]]]:
    with mail() as found:
        yield found


@pytest.fixture(scope="module")
def prefect(
    platform_db: Stack,
    hook: tuple[str, list[str]],
    letters: tuple[str, list[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Prefect]:
    """The server with all deployments, and alarms that go to three places; one answers nobody."""
    platform_db.up(["prefect"])
    found = Prefect.of(platform_db, tmp_path_factory.mktemp("flows"))
    (nobody,) = free_ports(1)
    found.told = {
        "LAKEHOUSE_HOME": str(found.folder / "lake"),
        "LAKEHOUSE_NOTIFY_WEBHOOK": f"http://{LOOPBACK}:{nobody}/hook",
        "LAKEHOUSE_NOTIFY_SLACK": hook[0],
        "LAKEHOUSE_NOTIFY_SMTP": letters[0],
        "LAKEHOUSE_NOTIFY_EMAIL_FROM": "lake@example.com",
        "LAKEHOUSE_NOTIFY_EMAIL_TO": "ops@example.com",
    }
    found.lakehouse("flows", "deploy")
    # Each test says itself what runs when.
    for deployment in found.call("deployments/filter", {}).json():
        for schedule in deployment["schedules"]:
            path = f"deployments/{deployment['id']}/schedules/{schedule['id']}"
            found.call(path, {"active": False}, "PATCH")
    found.switch_links(on=False)
    yield found
    platform_db.stop("prefect")


@contextmanager
def linked(prefect: Prefect) -> Iterator[None]:
    """What follows others does, and what has not begun at the end never will."""
    prefect.switch_links(on=True)
    try:
        yield
    finally:
        prefect.switch_links(on=False)
        for run in (run for name in FOLLOWS for run in prefect.runs_of(name)):
            if run["state"]["type"] == "SCHEDULED":
                prefect.call(f"flow_runs/{run['id']}", method="DELETE")


@pytest.fixture(scope="module")
def captured(prefect: Prefect) -> Path:
    """A lake in which events wait in the inbox, and nothing else is."""
    home = prefect.folder / "captured"
    capture(prefect, home, "--until", UNTIL)
    return home


def capture(prefect: Prefect, home: Path, *arguments: str) -> None:
    prefect.lakehouse("shop", "capture", "--to", str(home / "inbox"), "--clients", CLIENTS,
                      *arguments)  # fmt: skip


def new_lake(prefect: Prefect, captured: Path) -> Path:
    """The lake of the flows, with nothing but what has been captured."""
    home = prefect.folder / "lake"
    shutil.rmtree(home, ignore_errors=True)
    prefect.folder.joinpath(".lake-pii.key").write_text("0123456789abcdef" * 4)
    shutil.copytree(captured, home)
    return home


def published(home: Path) -> dict[str, tuple[int, str]]:
    """Table → rows and hash of the content, as readers see it."""
    manifest = read_manifest(home / "published")
    assert manifest is not None
    tables = manifest.tables.items()
    # Tells run and time.
    return {n: (t.rows, t.content_hash) for n, t in tables if n != "marts._publication"}


@pytest.fixture(scope="module")
def by_command_line(prefect: Prefect, captured: Path) -> dict[str, tuple[int, str]]:
    """What `lakehouse run` publishes of the captured events."""
    home = prefect.folder / "by-command-line"
    shutil.copytree(captured, home)
    prefect.folder.joinpath(".by-command-line-pii.key").write_text("0123456789abcdef" * 4)
    prefect.lakehouse("--home", str(home), "run")
    return published(home)


def wait_for(prefect: Prefect, run: str, *states: str, seconds: float = DONE_SECONDS) -> float:
    return within(seconds, lambda: prefect.state(run) in states, lambda: prefect.run(run)["state"])


def test_what_is_deployed_twice_is_there_once_and_what_is_paused_stays_so(
    prefect: Prefect,
) -> None:
    # As it was deployed when the clock started it.
    path = f"deployments/{prefect.deployment('features')['id']}/schedules"
    nightly = {"schedule": {"cron": "30 3 * * *"}, "active": True, "slug": "nightly"}
    assert prefect.call(path, [nightly]).status_code == 201
    told = prefect.lakehouse("flows", "deploy")
    assert prefect.deployment("features")["schedules"] == []
    assert "lakehouse-webhook, lakehouse-slack, lakehouse-email" in told
    found = prefect.call("deployments/filter", {}).json()
    names = sorted(deployment["name"] for deployment in found)
    assert names == [
        "backfill", "batch_inference", "daily", "drift", "features", "ingest", "maintain",
        "quality", "report", "train_churn", "train_forecast", "train_recommender", "transform",
    ]  # fmt: skip
    assert all(len(deployment["schedules"]) <= 1 for deployment in found)
    assert not any(each["active"] for deployment in found for each in deployment["schedules"])
    there = [(each["name"], each["enabled"]) for each in prefect.automations().values()]
    assert len(prefect.call("automations/filter", {}).json()) == len(there) == 9
    assert {name for name, is_on in there if not is_on} == {
        f"lakehouse: {name} follows" for name in FOLLOWS
    }
    # The addresses are secrets.
    blocks = prefect.call("block_documents/filter", {"include_secrets": False}).text
    assert prefect.told["LAKEHOUSE_NOTIFY_SLACK"] not in blocks


def test_a_parameter_out_of_range_is_refused_before_anything_runs(prefect: Prefect) -> None:
    path = f"deployments/{prefect.deployment('maintain')['id']}/create_flow_run"
    refused = prefect.call(path, {"parameters": {"keep_hours": 0}})
    assert refused.status_code == 409, refused.text
    assert "0 is less than the minimum of 1" in refused.text
    path = f"deployments/{prefect.deployment('backfill')['id']}/create_flow_run"
    refused = prefect.call(path, {"parameters": {"until": "2017-03-01"}})
    assert "'start' is a required property" in refused.text


def test_two_daily_runs_at_once_end_in_the_tables_of_lakehouse_run(
    prefect: Prefect, captured: Path, by_command_line: dict[str, tuple[int, str]]
) -> None:
    home = new_lake(prefect, captured)
    with prefect.worker("two-at-once"):
        runs = [prefect.start("daily"), prefect.start("daily")]
        for run in runs:
            wait_for(prefect, run, "Completed", "Unchanged")
    assert published(home) == by_command_line
    manifest = read_manifest(home / "published")
    assert manifest is not None
    (first,) = [run for run in runs if run == manifest.run_id]
    assert list(prefect.tasks(first)) == [
        "hold", "reach", "land", "stage", "gate-staging", "build", "gate-marts", "publish",
    ]  # fmt: skip
    assert {run["run_id"] for run in records(home)} == set(runs)
    shown = prefect.artifacts(first)
    assert set(shown) == {"landed", "gate-staging", "gate-marts", "data-docs", "published"}
    tables = {row["table"]: row["rows"] for row in json.loads(shown["published"])}
    assert {name: rows for name, (rows, _) in by_command_line.items()}.items() <= tables.items()
    # The other one had to wait, and found nothing new.
    (second,) = set(runs) - {first}
    assert "AwaitingConcurrencySlot" in prefect.states(second)
    assert (prefect.state(first), prefect.state(second)) == ("Completed", "Unchanged")
    assert list(prefect.tasks(second)) == ["hold", "reach", "land"]


def test_a_completed_run_is_followed_and_no_other(prefect: Prefect) -> None:
    """Whatever has run: the states are set as its worker would."""

    def end(name: str, state: str, kind: str) -> None:
        path = f"flow_runs/{prefect.start(name)}/set_state"
        prefect.call(path, {"state": {"type": kind, "name": state}, "force": True})

    def scheduled() -> dict[str, int]:
        counted = {name: len(prefect.runs_of(name)) - before[name] for name in FOLLOWS}
        return {name: count for name, count in counted.items() if count}

    before = {name: len(prefect.runs_of(name)) for name in FOLLOWS}
    with linked(prefect):
        end("transform", "Failed", "FAILED")
        end("daily", "Unchanged", "COMPLETED")
        end("train_churn", "Unchanged", "COMPLETED")
        end("quality", "Completed", "COMPLETED")
        end("train_churn", "Completed", "COMPLETED")
        within(60, lambda: bool(scheduled()), dict)
        # Events are looked at one after the other.
        assert scheduled() == {"batch_inference": 1}
        (following, *_) = prefect.runs_of("batch_inference")
        assert following["created_by"]["display_value"] == "lakehouse: batch_inference follows"
        end("transform", "Completed", "COMPLETED")
        expected = {"batch_inference": 2, "features": 1}
        within(60, lambda: scheduled() == expected, scheduled)
        end("batch_inference", "Completed", "COMPLETED")
        within(60, lambda: scheduled() == {**expected, "batch_inference": 3, "drift": 1}, scheduled)


def test_a_report_reaches_whom_alarms_reach_though_one_is_away(
    prefect: Prefect, captured: Path, hook: tuple[str, list[str]], letters: tuple[str, list[str]]
) -> None:
    home = new_lake(prefect, captured)
    prefect.lakehouse("run")
    with prefect.worker("reports"):
        run = prefect.start("report", period="month")
        wait_for(prefect, run, *ENDED)
    assert prefect.state(run) == "Failed"
    assert "not reached: lakehouse-webhook" in prefect.run(run)["state"]["message"]
    files = sorted((home / "reports").iterdir())
    assert [file.name.partition("-month-")[0] for file in files] == ["inventory", "sales"]
    assert any(all(file.name in letter for file in files) for letter in letters[1])
    assert any(all(str(file) in said for file in files) for said in hook[1])


def test_what_daily_has_published_is_served_and_predicted_from(prefect: Prefect) -> None:
    some_months = prefect.folder / "some-months"
    # Fewer clients or days leave a model nothing to predict by.
    prefect.lakehouse("shop", "capture", "--to", str(some_months / "inbox"), "--clients", "8",
                      "--until", "2017-07-01")  # fmt: skip
    home = new_lake(prefect, some_months)
    runs = {name: len(prefect.runs_of(name)) for name in FOLLOWS}
    with linked(prefect), prefect.worker("chained"):
        daily = prefect.start("daily")
        wait_for(prefect, daily, "Completed")
        for name, state in {
            "features": "Completed", "batch_inference": "Completed", "drift": "Unchanged",
        }.items():  # fmt: skip
            within(DONE_SECONDS, lambda name=name: len(prefect.runs_of(name)) > runs[name], list)  # type: ignore[misc]
            wait_for(prefect, prefect.runs_of(name)[0]["id"], *ENDED)
            assert prefect.runs_of(name)[0]["state"]["name"] == state
        again = prefect.start("daily")
        wait_for(prefect, again, *ENDED)
        assert prefect.run(again)["state"]["message"] == "nothing new was published"
        # Who has nothing to serve and nothing to predict was not called: here is who comes after.
        by_hand = prefect.start("batch_inference")
        wait_for(prefect, by_hand, "Completed")
        within(DONE_SECONDS, lambda: len(prefect.runs_of("drift")) == runs["drift"] + 2, list)
        # Counted while all are there: at the end those are deleted that have not begun.
        counted = {name: len(prefect.runs_of(name)) - runs[name] for name in FOLLOWS}
    assert counted == {"features": 1, "batch_inference": 2, "drift": 2}
    served = json.loads(prefect.lakehouse("status", "--json"))["features"]
    assert {view["entities"] > 0 for view in served} == {True}
    (told,) = [run for run in records(home) if run["run_id"] == daily]
    assert told["status"] == "completed"


def records(home: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (home / "state" / "runs.jsonl").read_text().splitlines()]


def test_a_schedule_is_kept_and_a_wrong_range_of_days_fails_with_its_remedy(
    prefect: Prefect,
) -> None:
    deployment = prefect.deployment("ingest")["id"]
    schedule = {"schedule": {"interval": 10}, "active": True, "slug": "soon"}
    (made,) = prefect.call(f"deployments/{deployment}/schedules", [schedule]).json()
    mine = {"deployments": {"id": {"any_": [deployment]}},
            "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}  # fmt: skip
    with prefect.worker("scheduled"):
        wrong = prefect.start("backfill", start="2017-03-01", until="2017-02-01")
        within(DONE_SECONDS, lambda: bool(prefect.call("flow_runs/filter", mine).json()), list)
        path = f"deployments/{deployment}/schedules/{made['id']}"
        prefect.call(path, method="DELETE")
        wait_for(prefect, wrong, *ENDED)
    (run, *_) = prefect.call("flow_runs/filter", mine).json()
    assert run["auto_scheduled"]
    told = prefect.run(wrong)["state"]
    assert told["name"] == "Failed"
    assert "--from 2017-03-01 is not before --until 2017-02-01" in told["message"]
    assert "for one day, give the next one" in prefect.artifacts(wrong)["failure"]


def test_a_run_is_crashed_and_tried_again_when_process_and_worker_are_killed(
    prefect: Prefect,
    captured: Path,
    by_command_line: dict[str, tuple[int, str]],
    letters: tuple[str, list[str]],
) -> None:
    home = new_lake(prefect, captured)
    with prefect.worker("killed") as worker:
        run = prefect.start("daily")
        within(DONE_SECONDS, lambda: "stage" in prefect.tasks(run), lambda: prefect.run(run))
        within(DONE_SECONDS, lambda: bool(prefect.run(run)["infrastructure_pid"]), str)
        worker.kill()
        os.kill(int(prefect.run(run)["infrastructure_pid"]), signal.SIGKILL)
    # A worker took another one up, and went before the run began.
    taken = prefect.start("quality")
    prefect.call(f"flow_runs/{taken}/set_state", {"state": {"type": "PENDING"}, "force": True})

    seconds = wait_for(prefect, run, "AwaitingRetry", seconds=CRASHED_SECONDS)
    print(f"\ncrashed after {seconds:.0f} s")
    wait_for(prefect, taken, "Crashed", seconds=CRASHED_SECONDS)
    assert "nothing was heard of it" in prefect.run(taken)["state"]["message"]
    assert not (home / "published").exists()
    within(30, lambda: len([x for x in letters[1] if "Subject: daily: Crashed" in x]) == 1, list)

    with prefect.worker("comes-after"):
        wait_for(prefect, run, "Completed")
    assert "Crashed" in prefect.states(run)
    assert published(home) == by_command_line
    assert [record["run_id"] for record in records(home)] == [run]


def test_a_process_killed_twice_is_replaced_by_the_worker_that_lives(
    prefect: Prefect, captured: Path, by_command_line: dict[str, tuple[int, str]]
) -> None:
    home = new_lake(prefect, captured)
    with prefect.worker("lives"):
        run = prefect.start("daily")
        for step in ("land", "publish"):
            within(DONE_SECONDS, lambda step=step: step in prefect.tasks(run), list)  # type: ignore[misc]
            os.kill(int(prefect.run(run)["infrastructure_pid"]), signal.SIGKILL)
            seconds = wait_for(prefect, run, "Crashed", seconds=CRASHED_SECONDS)
            print(f"\ncrashed after {seconds:.0f} s")
            assert not (home / "published" / "manifest.json").exists()
        wait_for(prefect, run, "Completed")
    assert prefect.run(run)["run_count"] == 3
    assert published(home) == by_command_line


def test_a_run_outlives_a_restart_of_the_server(
    prefect: Prefect,
    platform_db: Stack,
    captured: Path,
    by_command_line: dict[str, tuple[int, str]],
) -> None:
    home = new_lake(prefect, captured)
    with prefect.worker("outlives"):
        run = prefect.start("daily")
        within(DONE_SECONDS, lambda: "stage" in prefect.tasks(run), lambda: prefect.run(run))
        platform_db.kill("prefect")
        platform_db.up(["prefect"])
        wait_for(prefect, run, *ENDED)
    assert prefect.states(run)[-2:] == ["Running", "Completed"]
    assert prefect.run(run)["run_count"] == 1
    assert published(home) == by_command_line


def test_a_gate_that_blocks_fails_the_run_once_and_tells_whom_it_can(
    prefect: Prefect, hook: tuple[str, list[str]], letters: tuple[str, list[str]]
) -> None:
    home = prefect.folder / "lake"
    before = read_manifest(home / "published")
    capture(prefect, home, "--from", UNTIL, "--until", "2017-04-01", "--defects", "0.2")
    follow = {name: len(prefect.runs_of(name)) for name in FOLLOWS}
    with linked(prefect):
        with prefect.worker("blocked"):
            run = prefect.start("daily")
            wait_for(prefect, run, *ENDED)
        # The first address that was told answers nobody: the others are told all the same.
        within(30, lambda: any("daily: Failed" in text for text in hook[1]), lambda: hook[1])
        # Who would have followed is called by the same event as who is told.
        assert {name: len(prefect.runs_of(name)) for name in FOLLOWS} == follow
    told = prefect.run(run)["state"]
    assert (told["name"], prefect.run(run)["run_count"]) == ("Failed", 1)
    assert "the gate on staging blocks, the published marts stay as they were" in told["message"]
    assert prefect.tasks(run) | {"gate-staging": "Failed"} == prefect.tasks(run)
    assert "build" not in prefect.tasks(run)
    assert read_manifest(home / "published") == before
    assert records(home)[-1]["status"] == "blocked"
    shown = prefect.artifacts(run)
    assert any(row["severity"] == "block" for row in json.loads(shown["gate-staging"]))
    assert "correct these rows where they come from" in shown["failure"]
    text = next(text for text in hook[1] if "daily: Failed" in text)
    assert "the gate on staging blocks" in json.loads(text)["text"]
    within(30, lambda: any("Subject: daily: Failed" in text for text in letters[1]), list)
    away = prefect.tried("flows", "tell", "is anybody there?")
    assert away.returncode == 1
    assert "not reached: lakehouse-webhook: " in away.stderr
    assert any("is anybody there?" in text for text in hook[1])


def test_a_late_run_and_silence_are_told(prefect: Prefect, hook: tuple[str, list[str]]) -> None:
    there = prefect.call("block_documents/filter", {}).json()
    (slack,) = [block["id"] for block in there if block["name"] == "lakehouse-slack"]
    given = {PREFECT_API_URL: prefect.url, PREFECT_API_AUTH_STRING: prefect.password}
    with temporary_settings(given), get_client(sync_client=True) as client:
        wanted = alarms.alarms([slack], timedelta(seconds=10))
        alarms.save(client, [*alarms.care_for_runs(), *wanted])
    long_ago = (datetime.now(UTC) - timedelta(minutes=10)).isoformat()
    path = f"deployments/{prefect.deployment('quality')['id']}/create_flow_run"
    state = {"type": "SCHEDULED", "state_details": {"scheduled_time": long_ago}}
    late = prefect.call(path, {"state": state}).json()["id"]
    wait_for(prefect, late, "Late")
    for said in ("quality: late", "nothing was published for", "nothing has landed for"):
        within(60, lambda said=said: any(said in text for text in hook[1]), lambda: hook[1])  # type: ignore[misc]
    prefect.call(f"flow_runs/{late}", method="DELETE")


def test_many_runs_are_worked_off_without_a_lost_one(prefect: Prefect) -> None:
    flow = prefect.deployment("ingest")
    keys = ("flow_id", "entrypoint", "pull_steps", "work_pool_name", "work_queue_name", "tags",
            "job_variables", "path")  # fmt: skip
    # As ingest, but as many at once as there are.
    made = prefect.call("deployments/", {key: flow[key] for key in keys} | {"name": "many"})
    assert made.status_code in (200, 201), made.text
    path = f"deployments/{made.json()['id']}/create_flow_run"
    count = 8
    for _ in range(count):
        assert prefect.call(path, {"state": {"type": "SCHEDULED"}}).status_code == 201
    mine = {"deployments": {"id": {"any_": [made.json()["id"]]}}}

    def ended() -> list[str]:
        return [run["state"]["name"] for run in prefect.call("flow_runs/filter", mine).json()]

    with prefect.worker("many", limit=4):
        seconds = within(DONE_SECONDS, lambda: set(ended()) == {"Completed"}, ended)
    assert len(ended()) == count
    print(f"\n{count} runs in {seconds:.0f} s")
