"""Events leave by HTTP or Kafka, and no server, dead or slow, holds a run up for long."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog
from confluent_kafka import Consumer, TopicPartition

from pipelines.lake.ids import new_run_id
from pipelines.lineage import sender, store
from pipelines.lineage.recording import recording
from pipelines.settings import Settings
from tests.unit.kafka import Broker

TIMEOUT = 0.5


def settings_of(folder: Path, url: str, **told: Any) -> Settings:
    told = {"lineage_timeout": TIMEOUT} | told
    return Settings(home=folder / "lake", lineage_url=url, _env_file=None, **told)


def record(settings: Settings, steps: int = 3) -> tuple[float, list[Any]]:
    """Record a run of some steps; tells how long it took, and the warnings."""
    began = time.monotonic()
    with (
        structlog.testing.capture_logs() as logs,
        recording(settings, new_run_id(), "lakehouse run") as lineage,
    ):
        for number in range(steps):
            with lineage.step(f"step {number}"):
                pass
    took = time.monotonic() - began
    assert len(list(store.events(settings))) == 2 * (steps + 1)
    return took, [entry for entry in logs if entry["log_level"] == "warning"]


class Server(ThreadingHTTPServer):
    """Takes events as Marquez does.

    Attributes:
        taken: path, API key and event of each.
    """

    status, seconds = 201, 0.0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.taken: list[tuple[str, str | None, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.server.seconds)
        self.server.taken.append((self.path, self.headers["Authorization"], json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


@contextmanager
def silent() -> Iterator[int]:
    """A port that takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_server_is_sent_each_event_in_its_order(tmp_path: Path, server: Server) -> None:
    settings = settings_of(tmp_path, server.url, lineage_api_key="secret")
    _, warnings = record(settings)
    assert warnings == []
    assert [event for _, _, event in server.taken] == list(store.events(settings))
    assert {(path, key) for path, key, _ in server.taken} == {("/api/v1/lineage", "Bearer secret")}


def test_a_path_of_the_url_is_taken_as_it_is(tmp_path: Path, server: Server) -> None:
    record(settings_of(tmp_path, f"{server.url}/openlineage/events"))
    assert {path for path, _, _ in server.taken} == {"/openlineage/events"}


def test_a_slow_server_gets_all_events(tmp_path: Path, server: Server) -> None:
    server.seconds = TIMEOUT / 4
    took, warnings = record(settings_of(tmp_path, server.url))
    assert warnings == []
    assert len(server.taken) == 8
    assert took > TIMEOUT


def test_a_server_that_is_too_slow_is_not_waited_for_for_ever(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "_PATIENCE", 2)
    server.seconds = TIMEOUT / 2
    took, (warning,) = record(settings_of(tmp_path, server.url), steps=50)
    assert took < 2 * TIMEOUT + 1
    assert f"{server.url} is too slow: " in warning["cause"]


def test_a_server_that_never_answers_costs_a_run_one_timeout(tmp_path: Path) -> None:
    with silent() as port:
        took, (warning,) = record(settings_of(tmp_path, f"http://127.0.0.1:{port}"), steps=200)
    assert took < TIMEOUT + 1
    assert "not answer" in warning["cause"]
    assert "LAKEHOUSE_LINEAGE_URL" in warning["remedy"]


def test_a_server_that_drips_its_answer_costs_a_run_one_timeout(tmp_path: Path) -> None:
    """Each byte comes in time, the answer never: no timeout of the socket ends it."""
    stop = threading.Event()

    def drip(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            while not stop.wait(TIMEOUT / 5):
                connection.sendall(b"H")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=drip, args=(listening,), daemon=True).start()
        port = listening.getsockname()[1]
        took, (warning,) = record(settings_of(tmp_path, f"http://127.0.0.1:{port}"))
        stop.set()
    assert took < TIMEOUT + 1
    server = f"the lineage server at http://127.0.0.1:{port}"
    assert warning["cause"] == f"{server} has not answered for 0.5 s"


@pytest.mark.parametrize(
    ("status", "cause", "remedy"),
    [
        (401, "refuses with 401", "LAKEHOUSE_LINEAGE_API_KEY"),
        (500, "answers with 500 to /api/v1/lineage", "see its log"),
    ],
)
def test_after_one_refusal_nothing_more_is_sent_and_one_warning_tells_why(
    tmp_path: Path, server: Server, status: int, cause: str, remedy: str
) -> None:
    server.status = status
    _, (warning,) = record(settings_of(tmp_path, server.url))
    assert len(server.taken) == 1
    assert cause in warning["cause"]
    assert remedy in warning["remedy"]


def test_nobody_at_the_address_is_a_warning_that_keeps_passwords(tmp_path: Path) -> None:
    with silent() as port:
        pass
    _, (warning,) = record(settings_of(tmp_path, f"http://user:secret@127.0.0.1:{port}"))
    assert f"http://127.0.0.1:{port} does not answer" in warning["cause"]
    assert "secret" not in str(warning)


def test_a_topic_gets_each_event_under_the_key_of_its_run(tmp_path: Path) -> None:
    broker = Broker()
    settings = settings_of(tmp_path, f"kafka://{broker.bootstrap}/lineage", lineage_timeout=5)
    _, warnings = record(settings)
    assert warnings == []
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "test"})
    consumer.assign([TopicPartition("lineage", number, 0) for number in range(4)])
    taken = consumer.consume(8, timeout=10)
    consumer.close()
    events = list(store.events(settings))
    assert [json.loads(message.value()) for message in taken] == events
    assert {message.key().decode() for message in taken} == {events[0]["run"]["runId"]}


def test_a_cluster_that_is_not_there_costs_a_run_one_timeout(tmp_path: Path) -> None:
    with silent() as port:
        took, (warning,) = record(settings_of(tmp_path, f"kafka://127.0.0.1:{port}/lineage"))
    assert took < TIMEOUT + 1
    assert f"Kafka at 127.0.0.1:{port}" in warning["cause"]
    assert "LAKEHOUSE_LINEAGE_URL" in warning["remedy"]


@pytest.mark.parametrize(
    ("url", "cause"),
    [("kafka://broker:9092", "names no topic"), ("http://marquez:port", "is no address")],
)
def test_an_address_that_cannot_be_is_a_warning_too(tmp_path: Path, url: str, cause: str) -> None:
    _, (warning,) = record(settings_of(tmp_path, url))
    assert cause in warning["cause"]
