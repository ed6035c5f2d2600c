"""The commands on dead letters, as an operator types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipelines import cli
from pipelines.contract import Contracts
from pipelines.errors import UsageError
from tests.unit.events import KEY, TOPIC, Lake, message, thing

Command = Callable[..., Result]

SECRET = "a name that nobody should read"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with three letters of a topic without a contract, one of them without coordinates."""
    lake = Lake(tmp_path, Contracts([]))
    lake.deliver(thing(0, label=SECRET), thing(1), b"garbage")
    return lake


@pytest.fixture
def dead_letters(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `lakehouse dead-letters …` on that lake."""
    monkeypatch.setenv("LAKEHOUSE_PII_KEY", KEY)

    def run(*arguments: str) -> Result:
        command = ["--home", str(lake.settings.home), "dead-letters", *arguments]
        return CliRunner().invoke(cli.app, command, catch_exceptions=False)

    return run


def test_list_shows_open_letters_by_topic_reason_and_time(dead_letters: Command) -> None:
    shown = dead_letters("list").stdout
    assert shown.count(TOPIC) == 3
    assert SECRET not in shown
    found = json.loads(dead_letters("list", "--reason", "broken_json", "--json").stdout)
    assert [(letter["line_number"], letter["state"]) for letter in found] == [(3, "open")]
    assert "sealed_line" not in found[0]
    assert json.loads(dead_letters("list", "--since", "2999-01-01", "--json").stdout) == []
    assert json.loads(dead_letters("list", "--topic", "other", "--json").stdout) == []
    limited = dead_letters("list", "--limit", "1")
    assert limited.stdout.count(TOPIC) == 1
    assert "3 in all" in limited.stdout


def test_show_prints_the_line_and_warns_that_it_may_be_personal(
    dead_letters: Command, lake: Lake
) -> None:
    letter = lake.letters()[0]
    shown = dead_letters("show", letter["letter_id"][:12])
    assert SECRET in shown.stdout
    assert "personal data" in shown.stderr
    raw = dead_letters("show", letter["letter_id"], "--raw")
    assert raw.stdout_bytes == thing(0, label=SECRET) + b"\n"


def test_replay_tells_what_stays_dead(dead_letters: Command, lake: Lake) -> None:
    report = json.loads(dead_letters("replay", "--json").stdout)
    assert report["counts"] == {}
    assert list(report["still_dead"].values()) == ["unknown_topic"] * 2
    assert report["placeless"] == [lake.letters()[2]["letter_id"]]
    told = dead_letters("replay").stderr
    assert "2 are still bad, for example: unknown_topic" in told
    assert "1 told no coordinates" in told


def test_replay_reads_a_repaired_line_from_a_file(dead_letters: Command, lake: Lake) -> None:
    file = lake.folder / "repaired.jsonl"
    file.write_bytes(message(7, "{", topic=TOPIC))
    placeless = lake.letters()[2]["letter_id"]
    with pytest.raises(UsageError, match="cannot land either: unknown_topic"):
        dead_letters("replay", placeless, "--line-file", str(file))
    with pytest.raises(UsageError, match="takes the place of one letter"):
        dead_letters("replay", "--line-file", str(file))


def test_drop_asks_and_keeps_the_reason(dead_letters: Command) -> None:
    refused = dead_letters("drop", "--reason", "broken_json", "--because", "a test of the broker")
    assert refused.exit_code == 1
    assert len(json.loads(dead_letters("list", "--json").stdout)) == 3
    arguments = ("--reason", "broken_json", "--because", "a test of the broker", "--yes")
    assert "dropped: 1" in dead_letters("drop", *arguments).stderr
    assert "dropped: 0" in dead_letters("drop", *arguments).stderr
    assert len(json.loads(dead_letters("list", "--json").stdout)) == 2
    ends = json.loads(dead_letters("list", "--all", "--json").stdout)
    assert [(x["state"], x["because"]) for x in ends if x["state"] != "open"] == [
        ("dropped", "a test of the broker")
    ]


def test_drop_needs_a_choice_and_words(dead_letters: Command) -> None:
    with pytest.raises(UsageError, match="needs a choice"):
        dead_letters("drop", "--because", "all of them", "--yes")
    with pytest.raises(UsageError, match="--because is empty"):
        dead_letters("drop", "--topic", TOPIC, "--because", " ", "--yes")
