"""Superset's configuration, read as Superset reads it."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

FILE = Path(__file__).parents[2] / "infra" / "superset" / "superset_config.py"
VARIABLES = {
    "SUPERSET_SECRET_KEY": "signs",
    "SUPERSET_DB_PASSWORD": "p@ss/word:1",
    "PLATFORM_DB_HOST": "platform-db",
    "PLATFORM_DB_PORT": "5433",
    "REDIS_HOST": "redis",
    "REDIS_PORT": "6379",
    "REDIS_PASSWORD": "re#dis",
}


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    return {key: value for key, value in runpy.run_path(str(FILE)).items() if key.isupper()}


def test_passwords_of_any_signs_reach_database_and_cache(config: dict[str, Any]) -> None:
    database = urlsplit(config["SQLALCHEMY_DATABASE_URI"])
    assert (database.hostname, database.port, database.path) == ("platform-db", 5433, "/superset")
    assert unquote(database.password or "") == VARIABLES["SUPERSET_DB_PASSWORD"]
    cache = urlsplit(config["DATA_CACHE_CONFIG"]["CACHE_REDIS_URL"])
    # Database 0 belongs to the features.
    assert (cache.hostname, cache.port, cache.path) == ("redis", 6379, "/1")
    assert unquote(cache.password or "") == VARIABLES["REDIS_PASSWORD"]


def test_what_the_cache_keeps_has_a_time_to_live(config: dict[str, Any]) -> None:
    for name in ("CACHE_CONFIG", "DATA_CACHE_CONFIG"):
        assert config[name]["CACHE_DEFAULT_TIMEOUT"] > 0
    prefixes = {config[n]["CACHE_KEY_PREFIX"] for n in ("CACHE_CONFIG", "DATA_CACHE_CONFIG")}
    assert len(prefixes) == 2


def test_browsers_load_nothing_from_elsewhere(config: dict[str, Any]) -> None:
    policy = config["TALISMAN_CONFIG"]["content_security_policy"]
    allowed = {
        source for told in policy.values() for source in ([told] if isinstance(told, str) else told)
    }
    assert all(re.fullmatch(r"'[a-z-]+'|blob:|data:", source) for source in allowed)


@pytest.mark.parametrize("name", ["SUPERSET_SECRET_KEY", "SUPERSET_DB_PASSWORD", "REDIS_PASSWORD"])
def test_without_a_secret_superset_does_not_start(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], name: str
) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(KeyError, match=name):
        runpy.run_path(str(FILE))
