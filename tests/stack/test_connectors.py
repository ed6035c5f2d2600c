"""Connector files, judged by the connectors' own definitions: no server is behind these."""

from __future__ import annotations

import json
import re

import pytest
import requests

from tests.embedded.conftest import REPOSITORY
from tests.stack.native.loopback import LOOPBACK
from tests.stack.native.stack import Stack

# What only a server could answer.
_OF_THE_CONNECTION = {"database.hostname", "database.names", "database.user", "database.password"}


@pytest.mark.parametrize(
    ("file", "plugin", "server"),
    [
        ("infra/sqlserver/connector.json", "SqlServerConnector", "erp"),
        ("infra/mariadb/connectors/depot.json", "MariaDbConnector", "depot"),
    ],
)
def test_the_settings_are_known_and_valid(
    stack: Stack, file: str, plugin: str, server: str
) -> None:
    text = (REPOSITORY / file).read_text()
    settings = json.loads(re.sub(r"\$\{env:\w+\}", "1", text)) | {"name": server}
    url = f"http://{LOOPBACK}:{stack.port('connect', 8083)}/connector-plugins"
    answer = requests.put(f"{url}/{plugin}/config/validate", json=settings, timeout=60)
    assert answer.ok, answer.text
    told = answer.json()["configs"]
    values = [c["value"] for c in told if c["value"]]
    errors = {value["name"]: value["errors"] for value in values if value["errors"]}
    assert set(errors) <= _OF_THE_CONNECTION, errors
    known = {value["name"] for value in values}
    # Passed on to others: Connect's own, the stores of history and signals, the driver's.
    passed_on = re.compile(
        r"schema\.history\.internal\.|topic\.creation\.|exactly\.once\.|signal\.kafka\.|driver\."
    )
    assert {name for name in settings if not passed_on.match(name)} <= known
