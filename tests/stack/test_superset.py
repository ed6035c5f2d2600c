"""Superset with our configuration: its tables, its admin, and its cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import requests

from tests.stack.native.loopback import LOOPBACK
from tests.stack.native.stack import Stack
from tests.stack.state import ask_redis, database

_SECONDS = 30


@pytest.fixture(scope="module")
def superset(platform_db: Stack, redis: Stack) -> Iterator[Stack]:
    redis.up(["superset-init", "superset"])
    yield redis
    redis.stop("superset")


def address(stack: Stack, path: str) -> str:
    return f"http://{LOOPBACK}:{stack.port('superset', 8088)}/{path}"


def logged_in(stack: Stack, password: str) -> requests.Response:
    content = {"username": "admin", "password": password, "provider": "db"}
    url = address(stack, "api/v1/security/login")
    return requests.post(url, json=content, timeout=_SECONDS)


def test_the_admin_gets_in_and_others_do_not(superset: Stack) -> None:
    assert logged_in(superset, "admin").status_code == 401
    told = logged_in(superset, superset.secrets["SUPERSET_ADMIN_PASSWORD"])
    bearer = {"Authorization": f"Bearer {told.json()['access_token']}"}
    url = address(superset, "api/v1/database/")
    assert requests.get(url, headers=bearer, timeout=_SECONDS).json()["count"] == 0
    assert requests.get(url, timeout=_SECONDS).status_code == 401


def test_its_state_is_in_the_platform_database_and_its_cache_in_redis(superset: Stack) -> None:
    with database(superset, "superset") as own:
        assert own.execute("select username from ab_user").fetchall() == [("admin",)]
    # The page of the login counts visits there, of all workers together.
    page = requests.get(address(superset, "login/"), timeout=_SECONDS)
    assert "scarf" not in page.headers["Content-Security-Policy"]
    assert "db1:keys=" in ask_redis(superset, "INFO keyspace")


def test_a_second_init_brings_a_changed_password(superset: Stack) -> None:
    former = superset.secrets["SUPERSET_ADMIN_PASSWORD"]
    service = superset.services["superset-init"]
    changed = service.environment | {"SUPERSET_ADMIN_PASSWORD": "changed"}
    superset.services["superset-init"] = replace(service, environment=changed)
    superset.start("superset-init")
    assert logged_in(superset, former).status_code == 401
    assert logged_in(superset, "changed").status_code == 200
