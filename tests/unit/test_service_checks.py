"""What `doctor` says of services that may be away; tests/stack asks the real ones."""

from __future__ import annotations

import base64
import json
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from pipelines import doctor
from pipelines.checks.finding import Finding
from pipelines.doctor import examine
from pipelines.settings import Settings, load_settings

EXPERIMENTS = "/api/2.0/mlflow/experiments/search"


@pytest.fixture(autouse=True)
def services_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the checks of what runs here, which take a second."""
    services = ("prefect", "mlflow", "lineage", "redis", "feature registry")
    checks = {name: doctor._CHECKS[name] for name in services}
    monkeypatch.setattr(doctor, "_CHECKS", checks)


def wrong(folder: Path, **given: Any) -> list[Finding]:
    return [f for f in examine(settings(folder, **given)) if not f.ok]


def settings(folder: Path, **given: Any) -> Settings:
    return Settings(home=folder / "lake", _env_file=None, **given)


@contextmanager
def running(server: socketserver.BaseServer) -> Iterator[None]:
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def rest(pages: dict[str, tuple[int, str]], authorization: str | None = None) -> Iterator[str]:
    """A server with these pages, for who tells this header; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = pages.get(self.path.split("?")[0], (404, ""))
            if self.headers["Authorization"] != authorization:
                status, text = 401, "{}"
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    with running(server):
        yield f"127.0.0.1:{server.server_port}"


def basic(credentials: str) -> str:
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


# Prefect

PREFECT = {"/api/admin/version": (200, '"3.8.8"')}


def test_prefect_is_told_with_its_version(tmp_path: Path) -> None:
    with rest(PREFECT, basic("lakehouse:secret")) as address:
        found = examine(
            settings(
                tmp_path,
                prefect_api_url=f"http://{address}/api/",
                prefect_api_auth_string="lakehouse:secret",
            )
        )
    assert Finding("prefect", True, "version 3.8.8") in found


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ({}, "PREFECT_API_AUTH_STRING"),
        ({"prefect_api_auth_string": "lakehouse:wrong"}, "PREFECT_API_AUTH_STRING"),
        ({"prefect_api_key": "wrong"}, "PREFECT_API_KEY"),
    ],
)
def test_credentials_that_prefect_refuses_are_told(
    tmp_path: Path, given: dict[str, str], remedy: str
) -> None:
    with rest(PREFECT, basic("lakehouse:secret")) as address:
        (finding,) = wrong(tmp_path, prefect_api_url=f"http://{address}/api", **given)
    assert finding.check == "prefect"
    assert "401" in finding.detail
    assert finding.remedy == f"correct {remedy}"


def test_a_page_that_is_not_the_api_of_prefect_is_told(tmp_path: Path) -> None:
    with rest({"/admin/version": (200, "<!DOCTYPE html>")}) as address:
        (finding,) = wrong(tmp_path, prefect_api_url=f"http://{address}")
    assert "is not the API of Prefect" in finding.detail
    assert "/api" in finding.remedy


# MLflow

MLFLOW = {"/version": (200, "3.17.2"), EXPERIMENTS: (200, json.dumps({"experiments": []}))}


@pytest.mark.parametrize(
    ("given", "authorization"),
    [
        ({}, None),
        ({"mlflow_tracking_username": "u", "mlflow_tracking_password": "p"}, basic("u:p")),
        ({"mlflow_tracking_token": "t"}, "Bearer t"),
    ],
)
def test_mlflow_is_told_with_its_version(
    tmp_path: Path, given: dict[str, str], authorization: str | None
) -> None:
    with rest(MLFLOW, authorization) as address:
        found = examine(settings(tmp_path, mlflow_tracking_uri=f"http://{address}/", **given))
    assert Finding("mlflow", True, "version 3.17.2") in found


def test_credentials_in_the_address_of_mlflow_are_used_and_not_shown(tmp_path: Path) -> None:
    with rest(MLFLOW, basic("u:s@cret")) as address:
        assert wrong(tmp_path, mlflow_tracking_uri=f"http://u:s%40cret@{address}") == []
        (finding,) = wrong(tmp_path, mlflow_tracking_uri=f"http://u:wr0ng@{address}")
    assert "401" in finding.detail
    assert address in finding.detail
    assert "wr0ng" not in finding.detail + finding.remedy


def test_an_mlflow_that_lost_its_database_is_told(tmp_path: Path) -> None:
    with rest(MLFLOW | {EXPERIMENTS: (500, "")}) as address:
        (finding,) = wrong(tmp_path, mlflow_tracking_uri=f"http://{address}")
    assert "500" in finding.detail
    assert "log" in finding.remedy


def test_runs_kept_without_a_server_are_well(tmp_path: Path) -> None:
    assert wrong(tmp_path, mlflow_tracking_uri="sqlite:///mlflow.db") == []


# Redis


@contextmanager
def redis(info: str, password: str | None) -> Iterator[str]:
    """A server that knows AUTH and INFO; its address."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            known = password is None
            while line := self.rfile.readline():
                words = []
                for _ in range(int(line[1:])):
                    length = int(self.rfile.readline()[1:])
                    words.append(self.rfile.read(length + 2)[:-2].decode())
                if words[0] == "AUTH":
                    known = words[-1] == password
                    said = "+OK" if known else "-WRONGPASS invalid username-password pair"
                elif known:
                    said = f"${len(info.encode())}\r\n{info}"
                else:
                    said = "-NOAUTH Authentication required."
                self.wfile.write(f"{said}\r\n".encode())

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    with running(server):
        yield f"127.0.0.1:{server.server_address[1]}"


def info(policy: str) -> str:
    return f"# Server\r\nredis_version:7.2.11\r\n\r\n# Memory\r\nmaxmemory_policy:{policy}\r\n"


def test_redis_is_told_with_its_version_and_policy(tmp_path: Path) -> None:
    with redis(info("volatile-lru"), "s@cret") as address:
        found = examine(settings(tmp_path, redis=f"redis://:s%40cret@{address}/0"))
    assert Finding("redis", True, "version 7.2.11") in found
    assert Finding("redis: memory", True, "when it is full: volatile-lru") in found


@pytest.mark.parametrize(("user", "said"), [(":wr0ng@", "WRONGPASS"), ("", "NOAUTH")])
def test_a_password_that_redis_refuses_is_told(tmp_path: Path, user: str, said: str) -> None:
    with redis(info("volatile-lru"), "secret") as address:
        (finding,) = wrong(tmp_path, redis=f"redis://{user}{address}")
    assert said in finding.detail
    assert "wr0ng" not in finding.detail
    assert "LAKEHOUSE_REDIS" in finding.remedy


def test_a_redis_that_throws_features_away_is_told(tmp_path: Path) -> None:
    with redis(info("allkeys-lru"), None) as address:
        (finding,) = wrong(tmp_path, redis=f"redis://{address}")
    assert finding.check == "redis: memory"
    assert "volatile-lru" in finding.remedy


# All


@pytest.mark.parametrize(
    ("given", "check"),
    [
        ({"prefect_api_url": "http://u:secret@127.0.0.1:1/api"}, "prefect"),
        ({"prefect_api_url": "127.0.0.1:4200/api"}, "prefect"),
        ({"mlflow_tracking_uri": "http://u:secret@127.0.0.1:1"}, "mlflow"),
        ({"redis": "redis://:secret@127.0.0.1:1/0"}, "redis"),
        ({"redis": "redis://:secret@127.0.0.1:port"}, "redis"),
        ({"feature_registry": "postgresql://u:secret@127.0.0.1:1/feast"}, "feature registry"),
    ],
)
def test_a_service_that_is_down_is_told_with_a_remedy(
    tmp_path: Path, given: dict[str, str], check: str
) -> None:
    (finding,) = wrong(tmp_path, **given)
    assert finding.check == check
    assert "127.0.0.1" in finding.detail
    assert finding.remedy
    assert "secret" not in finding.detail


def test_what_speaks_another_protocol_is_no_redis(tmp_path: Path) -> None:
    with rest({}) as address:
        (finding,) = wrong(tmp_path, redis=f"redis://{address}")
    assert "not Redis' protocol" in finding.detail


def test_variables_of_clients_are_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "lakehouse.toml").write_text(
        '[prefect]\napi_url = "http://file/api"\n[mlflow]\ntracking_uri = "http://file"\n'
    )
    monkeypatch.setenv("PREFECT_API_URL", "http://environment/api")
    told = load_settings()
    assert told.prefect_api_url == "http://environment/api"
    assert told.mlflow_tracking_uri == "http://file"


# Lineage

MARQUEZ = {"/api/v1/namespaces": (200, '{"namespaces": []}')}


def test_marquez_is_told_where_it_answers(tmp_path: Path) -> None:
    with rest(MARQUEZ, "Bearer secret") as address:
        url = f"http://{address}"
        found = examine(settings(tmp_path, lineage_url=url, lineage_api_key="secret"))
        (refused,) = wrong(tmp_path, lineage_url=url, lineage_api_key="another")
    assert [(finding.check, finding.ok) for finding in found] == [("lineage", True)]
    assert "refuses with 401" in refused.detail
    assert "LAKEHOUSE_LINEAGE_API_KEY" in refused.remedy


def test_what_is_not_marquez_is_a_finding(tmp_path: Path) -> None:
    with rest({"/api/v1/namespaces": (200, "hello")}) as address:
        (finding,) = wrong(tmp_path, lineage_url=f"http://{address}")
        (gone,) = wrong(tmp_path, lineage_url=f"http://{address}1")
    assert "is not the API of Marquez" in finding.detail
    assert "LAKEHOUSE_LINEAGE_URL" in gone.remedy


@pytest.mark.parametrize("url", ["kafka://broker:9092/lineage", "https://host/openlineage"])
def test_what_only_takes_events_is_left_to_the_run(tmp_path: Path, url: str) -> None:
    (finding,) = examine(settings(tmp_path, lineage_url=url))
    assert finding.ok
    assert url in finding.detail
