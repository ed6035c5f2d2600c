"""A clinic's database beside the shop's: what `lakehouse source add` and `verify` are tried on."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from typer.testing import CliRunner, Result

from pipelines import cli
from tests.stack.native.stack import Stack

SERVER = "clinic"
PASSWORD = "a password with ' and \" in it"
SCHEMA = Path(__file__).with_name("clinic.sql")
CHANGES = Path(__file__).with_name("clinic_changes.sql")
# What Debezium sent of both, which the live test holds to what it sends now.
RECORDED = Path(__file__).with_name("clinic-capture")
KEY = "a key only for tests, long enough"
TABLES = {"BedLog", "alarm", "device", "measurement", "patient", "visit"}


def url(stack: Stack, user: str = "postgres", password: str | None = None) -> str:
    """The clinic lives in the shop's database, in a schema of its own."""
    told = password if password is not None else stack.secrets["POSTGRES_PASSWORD"]
    return f"postgresql://{user}:{told}@127.0.0.1:{stack.port('postgres', 5432)}/shop"


def quoted_password() -> str:
    """The connector's password as a URL takes it."""
    return urllib.parse.quote(PASSWORD, safe="")


def execute(stack: Stack, sql: str) -> None:
    """Statements of the clinic's program, committed."""
    with psycopg.connect(url(stack), autocommit=True) as database:
        database.execute("set search_path = clinic")
        database.execute(sql)


def administer(stack: Stack, script: Path) -> None:
    """Run a drafted script as its first lines say."""
    done = subprocess.run(
        ["psql", "-q", "-v", f"cdc_password={PASSWORD}", "-d", url(stack), "-f", str(script)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def register(stack: Stack, configuration: Path) -> None:
    """Give Connect the drafted configuration; its variables are those of another environment."""
    text = configuration.read_text()
    variables = {
        "CLINIC_DB_HOST": "127.0.0.1",
        "CLINIC_DB_PORT": str(stack.port("postgres", 5432)),
        "CLINIC_CDC_PASSWORD": json.dumps(PASSWORD)[1:-1],
    }
    for name, value in variables.items():
        assert f"${{env:{name}}}" in text
        text = text.replace(f"${{env:{name}}}", value)
    request = urllib.request.Request(  # noqa: S310
        f"{_connect(stack)}/config", text.encode(), {"Content-Type": "application/json"},
        method="PUT",
    )  # fmt: skip
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        assert answer.status in (200, 201)


def is_running(stack: Stack) -> bool:
    """Whether the connector's task runs."""
    try:
        with urllib.request.urlopen(f"{_connect(stack)}/status") as answer:  # noqa: S310
            tasks: list[dict[str, Any]] = json.load(answer)["tasks"]
    except urllib.error.HTTPError:
        return False
    assert all(task["state"] != "FAILED" for task in tasks), tasks
    return [task["state"] for task in tasks] == ["RUNNING"]


def _connect(stack: Stack) -> str:
    return f"http://127.0.0.1:{stack.port('connect', 8083)}/connectors/{SERVER}"


def lakehouse(home: Path, *arguments: str) -> Result:
    """The command line in this process; the environment names project and key."""
    return CliRunner().invoke(cli.app, ["--home", str(home), *arguments], catch_exceptions=False)


def messages(stack: Stack) -> dict[str, list[str]]:
    """Topic → all messages of the clinic's tables, as lines of a capture file."""
    consumer = Consumer(
        {
            "bootstrap.servers": f"127.0.0.1:{stack.port('kafka', 9092)}",
            "group.id": "recorder",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    found: dict[str, list[str]] = {f"{SERVER}.clinic.{name}": [] for name in sorted(TABLES)}
    known = consumer.list_topics(timeout=30).topics
    parts = [TopicPartition(t, p, OFFSET_BEGINNING) for t in found for p in known[t].partitions]
    consumer.assign(parts)
    waiting = len(parts)
    while waiting:
        message = consumer.poll(30)
        assert message is not None, "Kafka does not answer"
        if message.error():
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            waiting -= 1
            continue
        found[message.topic()].append(_line(message))
    consumer.close()
    return found


def _line(message: Any) -> str:
    key, payload = message.key(), message.value()
    line = {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "tstype": "create",
        "ts": message.timestamp()[1],
        "headers": [x for name, value in message.headers() or [] for x in (name, value.decode())],
        "key": key and key.decode(),
        "payload": payload and payload.decode(),
    }
    return json.dumps(line, ensure_ascii=False)


def told(lines: list[str]) -> list[Any]:
    """What events say of rows, sorted: neither times nor positions of this run."""
    found = []
    for line in map(json.loads, lines):
        event = json.loads(line["payload"]) if line["payload"] else {}
        found.append([line["key"], *(event.get(name) for name in ("op", "before", "after"))])
    return sorted(found, key=json.dumps)
