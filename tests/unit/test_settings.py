"""Where settings come from, and which of two wins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.errors import UsageError
from pipelines.settings import load_settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of its own, and an environment that tells nothing."""
    for name in [n for n in os.environ if n.startswith("LAKEHOUSE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_may_hold_them_in_sections(folder: Path) -> None:
    (folder / "lakehouse.toml").write_text(
        'home = "elsewhere"\nkafka = "broker:9092"\n[trino]\nhost = "trino"\nport = 8443\n'
    )
    settings = load_settings()
    assert settings.home == folder / "elsewhere"
    assert settings.kafka == "broker:9092"
    assert (settings.trino_host, settings.trino_port) == ("trino", 8443)
    assert settings.threads == 2


def test_command_line_environment_env_file_and_toml_win_in_this_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "lakehouse.toml").write_text(
        'home = "toml"\nthreads = 5\nmemory_limit = "5GB"\nkafka = "toml:9092"\n'
    )
    (folder / ".env").write_text(
        "LAKEHOUSE_HOME=env-file\nLAKEHOUSE_THREADS=4\nLAKEHOUSE_MEMORY_LIMIT=4GB\n"
    )
    monkeypatch.setenv("LAKEHOUSE_HOME", "environment")
    monkeypatch.setenv("LAKEHOUSE_THREADS", "3")
    settings = load_settings(home=Path("command"))
    assert settings.home == folder / "command"
    assert settings.threads == 3
    assert settings.memory_limit == "4GB"
    assert settings.kafka == "toml:9092"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kafka = ", "cannot be read"),
        ('kafca = "broker:9092"', "kafca"),
        ('[trino]\nhots = "trino"', "trino_hots"),
        ('threads = "many"', "threads in lakehouse.toml"),
        ('target = "oracle"', "target in lakehouse.toml"),
    ],
)
def test_what_a_file_has_wrong_is_told(folder: Path, text: str, told: str) -> None:
    (folder / "lakehouse.toml").write_text(text)
    with pytest.raises(UsageError) as refused:
        load_settings()
    assert told in f"{refused.value.cause} {refused.value.remedy}"


def test_closed_days_are_dates_with_or_without_a_year(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings().days_closed == ("12-25",)
    monkeypatch.setenv("LAKEHOUSE_CLOSED_DAYS", "12-25,2018-01-02")
    assert load_settings().days_closed == ("12-25", "2018-01-02")
    monkeypatch.setenv("LAKEHOUSE_CLOSED_DAYS", "")
    assert load_settings().days_closed == ()
    monkeypatch.setenv("LAKEHOUSE_CLOSED_DAYS", "25.12.")
    with pytest.raises(UsageError, match="closed_days"):
        load_settings()
