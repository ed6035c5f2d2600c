"""What `doctor` says of services; against the real ones it is tried in tests/stack."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines import cli
from pipelines.checks.finding import Finding
from pipelines.checks.kafka import check_connect
from pipelines.checks.source_mariadb import _kept, _tables
from pipelines.checks.source_postgres import _slots
from pipelines.doctor import examine
from pipelines.settings import Settings

TRACE = (
    "org.apache.kafka.connect.errors.ConnectException: The connector failed\n"
    "\tat io.debezium.Task.start(Task.java:1)\n"
    "Caused by: io.debezium.DebeziumException: The offset is no longer available on the server\n"
    "\tat io.debezium.Other.validate(Other.java:2)\n"
)


def settings(folder: Path, **given: Any) -> Settings:
    return Settings(home=folder / "lake", _env_file=None, **given)


@pytest.fixture
def connect() -> Iterator[tuple[str, dict[str, Any]]]:
    """An address, and what Kafka Connect answers there."""
    told: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", told
    server.shutdown()
    thread.join()
    server.server_close()


def connector(task: dict[str, Any]) -> dict[str, Any]:
    return {"status": {"connector": {"state": "RUNNING"}, "tasks": [task]}}


def test_a_failed_task_is_told_with_its_innermost_cause(
    connect: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    url, told = connect
    told["good"] = connector({"state": "RUNNING"})
    told["lost"] = connector({"state": "FAILED", "trace": TRACE})
    trace = TRACE.replace("io.debezium.DebeziumException: The offset is no longer", "It is not")
    told["wrong"] = connector({"state": "FAILED", "trace": trace})
    good, lost, wrong = check_connect(settings(tmp_path, connect_url=url))
    assert good.ok
    assert not lost.ok
    assert lost.detail == "FAILED: the database no longer has the log that it needs"
    assert "lakehouse resnapshot" in lost.remedy
    assert not wrong.ok
    assert wrong.detail == "FAILED: It is not available on the server"
    assert "restart" in wrong.remedy


def test_no_connector_is_a_finding(connect: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    (finding,) = check_connect(settings(tmp_path, connect_url=connect[0]))
    assert not finding.ok


def test_a_lake_that_is_not_there_yet_is_well(tmp_path: Path) -> None:
    assert all(finding.ok for finding in examine(settings(tmp_path)))


@pytest.mark.parametrize(
    ("given", "check"),
    [
        ({"connect_url": "http://127.0.0.1:1"}, "connect"),
        ({"kafka": "127.0.0.1:1"}, "kafka"),
        ({"metastore": "thrift://127.0.0.1:1"}, "metastore"),
        ({"metastore": "127.0.0.1:9083"}, "metastore"),
        ({"trino_host": "127.0.0.1", "trino_port": 1}, "trino"),
        ({"source_url": "postgresql://u:secret@127.0.0.1:1/shop"}, "source database"),
        ({"source_url": "mariadb://u:secret@127.0.0.1:1/shop"}, "source database"),
    ],
)
def test_a_service_that_is_down_is_told_with_a_remedy(
    tmp_path: Path, given: dict[str, Any], check: str
) -> None:
    (finding,) = [f for f in examine(settings(tmp_path, **given)) if not f.ok]
    assert finding.check == check
    assert "127.0.0.1" in finding.detail
    assert finding.remedy
    assert "secret" not in finding.detail


def test_a_remedy_is_printed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    remedy = "pip install 'lakehouse-platform[postgres]'"
    finding = Finding("source database", False, "psycopg is not installed", remedy)
    monkeypatch.setattr(cli.examination, "examine", lambda settings: [finding])
    done = CliRunner().invoke(cli.app, ["doctor"])
    assert done.exit_code == 1
    assert remedy in done.stdout


@pytest.mark.parametrize(
    ("slot", "ok", "told"),
    [
        (("s", True, "reserved", 3), True, "3 MiB behind"),
        (("s", True, "extended", 2_000), False, "2,000 MiB behind"),
        (("s", False, "reserved", 3), False, "nobody reads it"),
        (("s", False, "unreserved", 900), False, "next checkpoint"),
        (("s", False, "lost", 0), False, "its log is gone"),
    ],
)
def test_a_slot_is_judged_by_reader_lag_and_log(slot: Any, ok: bool, told: str) -> None:
    (finding,) = _slots([slot])
    assert finding.ok is ok
    assert told in finding.detail
    assert bool(finding.remedy) is not ok


@pytest.mark.parametrize("url", ["mssql://u:secret@db/shop", "host=db password=secret://x"])
def test_a_source_that_nothing_here_reads_is_a_finding(tmp_path: Path, url: str) -> None:
    (finding,) = [f for f in examine(settings(tmp_path, source_url=url)) if not f.ok]
    assert finding.check == "source database"
    assert "PostgreSQL and MariaDB can be read so far" in finding.detail
    assert "mariadb://" in finding.remedy
    assert "secret" not in finding.detail + finding.remedy


@pytest.mark.parametrize(
    ("variables", "ok", "told"),
    [
        ({"binlog_expire_logs_seconds": "604800", "expire_logs_days": "7.0"}, True, "168 hours"),
        ({"binlog_expire_logs_seconds": "86400", "expire_logs_days": "1.0"}, True, "24 hours"),
        ({"binlog_expire_logs_seconds": "86399", "expire_logs_days": "0.99"}, False, "24 hours"),
        ({"binlog_expire_logs_seconds": "60", "expire_logs_days": "0.0"}, False, "0.01667 hours"),
        ({"binlog_expire_logs_seconds": "0", "expire_logs_days": "0.0"}, True, "until somebody"),
        # As servers before 10.6 answer.
        ({"expire_logs_days": "10"}, True, "240 hours"),
        ({"expire_logs_days": "0"}, True, "until somebody"),
    ],
)
def test_a_binlog_must_be_kept_for_a_day(variables: dict[str, str], ok: bool, told: str) -> None:
    finding = _kept(variables)
    assert finding.ok is ok
    assert told in finding.detail
    assert bool(finding.remedy) is not ok


def test_a_contracts_table_that_mariadb_does_not_show_is_a_finding() -> None:
    finding = _tables("depot", ["stock", "article"], {"article", "marker"})
    assert not finding.ok
    assert finding.detail == "1 of the contracts are there, in depot"
    assert "not there, or this user may not read them: stock" in finding.remedy
    assert _tables("depot", ["article"], {"article"}).ok
