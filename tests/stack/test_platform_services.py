"""What the services beside the line keep, and where: Redis, Prefect and MLflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import requests
from botocore.exceptions import ClientError

from tests.stack.native.components import REPOSITORY
from tests.stack.native.loopback import LOOPBACK
from tests.stack.native.stack import Stack
from tests.stack.state import ask_redis, database

_SECONDS = 30
# With the client of the server's own release, as a training would.
_RUN = """
import sys, mlflow
mlflow.set_experiment("demand")
with mlflow.start_run() as run:
    mlflow.log_metric("wape", 0.44)
    mlflow.log_text("lightgbm, 200 trees", "model/notes.txt")
print(run.info.run_id, mlflow.artifacts.load_text(run.info.artifact_uri + "/model/notes.txt"))
"""


@pytest.fixture(scope="module")
def prefect(platform_db: Stack) -> Iterator[Stack]:
    platform_db.up(["prefect"])
    yield platform_db
    platform_db.stop("prefect")


@pytest.fixture(scope="module")
def mlflow(platform_db: Stack, store: Stack) -> Iterator[Stack]:
    store.up(["mlflow"])
    yield store
    store.stop("mlflow")


# Databases


@pytest.mark.parametrize(
    "service", ["metastore", "prefect", "mlflow", "marquez", "superset", "feast"]
)
def test_a_service_owns_its_database_and_enters_no_other(platform_db: Stack, service: str) -> None:
    with database(platform_db, service) as own:
        own.execute("create table door (n int)")
        own.execute("drop table door")
        ((may,),) = own.execute(
            "select rolsuper or rolcreatedb or rolcreaterole or rolreplication "
            "from pg_roles where rolname = current_user"
        ).fetchall()
        assert not may
    other = "mlflow" if service != "mlflow" else "prefect"
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        database(platform_db, service, other)


def test_databases_made_again_keep_what_they_hold(platform_db: Stack) -> None:
    with database(platform_db, "superset") as own:
        own.execute("create table kept (n int)")
    service = platform_db.services["platform-db"]
    (script,) = (platform_db.folder / "mounts" / "platform-db").rglob("10-databases.sh")
    made_again = platform_db.environment(service) | {
        "PGHOST": LOOPBACK,
        "PGPORT": str(platform_db.port("platform-db", 5433)),
        "PGPASSWORD": platform_db.secrets["PLATFORM_DB_PASSWORD"],
        "SUPERSET_DB_PASSWORD": "changed",
    }
    subprocess.run(["sh", str(script)], env=made_again, check=True)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        database(platform_db, "superset")
    former = {"SUPERSET_DB_PASSWORD": platform_db.secrets["SUPERSET_DB_PASSWORD"]}
    subprocess.run(["sh", str(script)], env=made_again | former, check=True)
    with database(platform_db, "superset") as own:
        own.execute("drop table kept")


# Redis


def test_redis_answers_only_with_the_password(redis: Stack) -> None:
    assert ask_redis(redis, "GET door", is_known=False).startswith("-NOAUTH")
    told = ask_redis(redis, "AUTH wrong", "GET door", is_known=False)
    assert told.startswith("-WRONGPASS")
    assert "-NOAUTH" in told
    assert "+PONG" in ask_redis(redis, "PING")


def test_a_feature_outlives_a_killed_redis_and_a_full_memory(redis: Stack) -> None:
    ask_redis(redis, "SET feature 7")
    redis.kill("redis")
    redis.up(["redis"])
    assert "\r\n7\r\n" in ask_redis(redis, "GET feature")
    ask_redis(redis, "CONFIG SET maxmemory 4mb")
    entries = [f"SET cache:{number} {'x' * 10_000} EX 600" for number in range(1_000)]
    assert "OOM" not in ask_redis(redis, *entries)
    told = ask_redis(redis, "GET feature", "DBSIZE", "FLUSHDB", "CONFIG SET maxmemory 192mb")
    assert "\r\n7\r\n" in told
    kept = int(told.split(":")[1].split("\r\n")[0])
    assert 1 < kept < 1_000


# Prefect


def call(stack: Stack, path: str, content: dict[str, object] | None = None) -> requests.Response:
    return requests.request(
        "GET" if content is None else "POST",
        f"http://{LOOPBACK}:{stack.port('prefect', 4200)}/api/{path}",
        json=content, auth=("lakehouse", stack.secrets["PREFECT_API_PASSWORD"]), timeout=_SECONDS,
    )  # fmt: skip


def test_prefect_answers_only_with_the_password(prefect: Stack) -> None:
    assert call(prefect, "health").json() is True
    unknown = f"http://{LOOPBACK}:{prefect.port('prefect', 4200)}/api/admin/version"
    assert requests.get(unknown, timeout=_SECONDS).status_code == 401
    assert call(prefect, "admin/version").json() == "3.8.8"
    settings = call(prefect, "admin/settings").json()
    assert settings["server"]["analytics_enabled"] is False


def test_a_deployment_and_its_run_outlive_a_restart_of_prefect(prefect: Stack) -> None:
    flow = call(prefect, "flows/", {"name": "nightly"}).json()["id"]
    deployment = call(prefect, "deployments/", {"name": "nightly", "flow_id": flow}).json()["id"]
    run = call(prefect, f"deployments/{deployment}/create_flow_run", {"name": "first"})
    assert run.status_code == 201, run.text
    prefect.kill("prefect")
    prefect.up(["prefect"])
    kept = call(prefect, f"flow_runs/{run.json()['id']}").json()
    assert (kept["name"], kept["deployment_id"]) == ("first", deployment)
    with database(prefect, "prefect") as own:
        rows = own.execute("select name from flow_run where deployment_id = %s", [deployment])
        assert rows.fetchall() == [("first",)]


# MLflow


def test_mlflow_keeps_a_run_in_its_database_and_its_artefact_in_its_bucket(mlflow: Stack) -> None:
    done = subprocess.run(
        [str(mlflow.environment_of("mlflow") / "bin" / "python"), "-c", _RUN],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(mlflow.folder),
            "MLFLOW_TRACKING_URI": f"http://{LOOPBACK}:{mlflow.port('mlflow', 5000)}",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run, text = done.stdout.strip().splitlines()[-1].split(" ", 1)
    assert text == "lightgbm, 200 trees"
    with database(mlflow, "mlflow") as own:
        told = own.execute("select key, value from metrics where run_uuid = %s", [run])
        assert told.fetchall() == [("wape", 0.44)]
    store = mlflow.s3("mlflow").client()
    keys = [found["Key"] for found in store.list_objects_v2(Bucket="mlflow")["Contents"]]
    (notes,) = [key for key in keys if key.endswith(f"{run}/artifacts/model/notes.txt")]
    assert store.get_object(Bucket="mlflow", Key=notes)["Body"].read().decode() == text


def test_a_model_is_registered_on_the_server_and_loaded_from_its_bucket(
    mlflow: Stack, tmp_path: Path
) -> None:
    """And not loaded any more when somebody has written into the bucket."""
    given = {"MLFLOW_TRACKING_URI": f"http://{LOOPBACK}:{mlflow.port('mlflow', 5000)}"}

    def lakehouse(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "--home", str(tmp_path / "lake"), *arguments],
            cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=600,
            env=os.environ | given,
        )  # fmt: skip

    assert lakehouse("demo", "--clients", "40", "--no-models").returncode == 0
    trained = lakehouse("train", "recommend", "--origins", "1", "--json")
    assert trained.returncode == 0, trained.stderr
    assert lakehouse("models", "promote", "recommend", "1").returncode == 0
    scored = lakehouse("score", "recommend", "--json")
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout)[0]["model_version"] == "recommend/1"
    assert not (tmp_path / "lake" / "mlflow").exists()
    store = mlflow.s3("mlflow").client()
    keys = [found["Key"] for found in store.list_objects_v2(Bucket="mlflow")["Contents"]]
    (policy,) = [key for key in keys if key.endswith("artifacts/model/policy.json")]
    body = store.get_object(Bucket="mlflow", Key=policy)["Body"].read()
    assert json.loads(trained.stdout)["sha256"].encode() not in body
    store.put_object(Bucket="mlflow", Key=policy, Body=body.replace(b"0.0", b"0.1", 1))
    altered = lakehouse("score", "recommend", "--again")
    assert altered.returncode == 1
    assert "its files are not those that were registered" in altered.stderr


def test_the_user_of_mlflow_sees_its_bucket_only(store: Stack) -> None:
    owner = store.s3().client()
    owner.put_object(Bucket="lake", Key="raw/door", Body=b"closed")
    own, body = store.s3("mlflow").client(), b"x"
    own.put_object(Bucket="mlflow", Key="door", Body=body)
    own.delete_object(Bucket="mlflow", Key="door")
    try:
        for refused in (
            lambda: own.get_object(Bucket="lake", Key="raw/door"),
            lambda: own.list_objects_v2(Bucket="lake"),
            lambda: own.put_object(Bucket="lake", Key="raw/other", Body=body),
            lambda: own.list_objects_v2(Bucket="warehouse"),
            lambda: own.put_bucket_policy(Bucket="mlflow", Policy=json.dumps({})),
            lambda: own.delete_bucket(Bucket="mlflow"),
            lambda: owner.list_objects_v2(Bucket="mlflow"),
        ):
            with pytest.raises(ClientError, match="AccessDenied"):
                refused()
    finally:
        owner.delete_object(Bucket="lake", Key="raw/door")


# Doctor


def test_doctor_looks_at_all_three(
    redis: Stack, prefect: Stack, mlflow: Stack, tmp_path: Path
) -> None:
    given = {
        "PREFECT_API_URL": f"http://{LOOPBACK}:{prefect.port('prefect', 4200)}/api",
        "PREFECT_API_AUTH_STRING": f"lakehouse:{prefect.secrets['PREFECT_API_PASSWORD']}",
        "MLFLOW_TRACKING_URI": f"http://{LOOPBACK}:{mlflow.port('mlflow', 5000)}",
        "LAKEHOUSE_REDIS": (
            f"redis://:{redis.secrets['REDIS_PASSWORD']}@{LOOPBACK}:{redis.port('redis', 6379)}"
        ),
    }

    def told(**changed: str) -> list[dict[str, object]]:
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "--home", str(tmp_path), "doctor", "--json"],
            cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120,
            env=os.environ | given | changed,
        )  # fmt: skip
        found: list[dict[str, object]] = json.loads(done.stdout)
        return found

    details = {str(f["check"]): str(f["detail"]) for f in told() if f["ok"]}
    assert details["prefect"] == "version 3.8.8"
    assert details["mlflow"].startswith("version 3.17")
    assert details["redis"].startswith("version 7")
    assert "volatile-lru" in details["redis: memory"]
    wrong = told(
        PREFECT_API_AUTH_STRING="lakehouse:wrong",
        LAKEHOUSE_REDIS=given["LAKEHOUSE_REDIS"].replace("://:", "://:wrong"),
    )
    assert [f["check"] for f in wrong if not f["ok"]] == ["prefect", "redis"]
