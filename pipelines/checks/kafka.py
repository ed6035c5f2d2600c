"""Checks of Kafka, and of Kafka Connect with the connectors that write to it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from pipelines.cdc.kafka import GROUP
from pipelines.cdc.kafka_cluster import Cluster, read_properties
from pipelines.checks.finding import Finding
from pipelines.contract import load_contracts
from pipelines.errors import LakehouseError
from pipelines.settings import Settings

_SECONDS = 5.0
_SHOWN = 500
# What Debezium says of a slot that is gone, and of one that was made anew.
_LOST = ("no longer available on the server", "Saved offset is before replication slot")


def check_kafka(settings: Settings) -> Iterator[Finding]:
    """Whether the brokers answer, and have a topic for each table of the contracts.

    Raises:
        LakehouseError: they do not, or have no topic at all.
    """
    if settings.kafka is None:
        return
    properties = read_properties(settings.kafka_config) if settings.kafka_config else {}
    cluster = Cluster(settings.kafka, GROUP, properties, _SECONDS)
    contracts = load_contracts(settings.project_dir)
    try:
        topics = cluster.topics(None, contracts)
    finally:
        cluster.consumer.close()
    missing = sorted({table.stream_topic for table in contracts.tables} - set(topics))
    yield Finding(
        "kafka", not missing, f"{settings.kafka} has {len(topics)} topics of the contracts",
        f"no topic yet: {', '.join(missing)}; see whether the connector captures these tables"
        if missing else "",
    )  # fmt: skip


def check_connect(settings: Settings) -> Iterator[Finding]:
    """Whether each connector and all of its tasks run.

    Source: https://kafka.apache.org/documentation/#connect_rest

    Raises:
        LakehouseError: Kafka Connect does not answer.
    """
    if settings.connect_url is None:
        return
    url = f"{settings.connect_url.rstrip('/')}/connectors?expand=status"
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310
            connectors: dict[str, Any] = json.load(answer)
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        raise LakehouseError(
            f"Kafka Connect at {settings.connect_url} does not answer: {error}",
            "start it, or correct LAKEHOUSE_CONNECT_URL",
        ) from None
    if not connectors:
        yield Finding(
            "connect", False, "no connector is registered",
            "register one: the service connect-init does it",
        )  # fmt: skip
    for name, told in connectors.items():
        yield _connector(name, told["status"])


def _connector(name: str, status: dict[str, Any]) -> Finding:
    parts = [status["connector"], *status["tasks"]]
    stopped = [part for part in parts if part["state"] != "RUNNING"]
    if not stopped:
        return Finding(f"connector {name}", True, f"runs, with {len(status['tasks'])} task(s)")
    state, cause = stopped[0]["state"], _cause(stopped[0].get("trace", ""))
    # Debezium stops instead of passing over what it missed.
    if any(told in cause for told in _LOST):
        return Finding(
            f"connector {name}",
            False,
            f"{state}: the database no longer has the log that it needs",
            "changes are lost: `lakehouse resnapshot TABLE` tells how to go on",
        )
    return Finding(
        f"connector {name}", False, f"{state}: {cause[:_SHOWN]}",
        f"mend that, then POST /connectors/{name}/restart?includeTasks=true&onlyFailed=true",
    )  # fmt: skip


def _cause(trace: str) -> str:
    """The innermost of the exceptions that a Java trace tells."""
    lines = [line for line in trace.splitlines() if line and not line[0].isspace()]
    return lines[-1].removeprefix("Caused by: ") if lines else "it does not tell why"
