"""The S3 store by its settings and errors; the store itself is tried in tests/stack."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from deltalake.exceptions import CommitFailedError

from pipelines.errors import LakehouseError, UsageError
from pipelines.lake import object_store
from pipelines.lake.storage import clear_about_storage
from pipelines.lake.tables import again_if_overtaken
from pipelines.settings import Settings, load_settings

KEYS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "secret"}
UNANSWERED = (
    "Generic S3 error: Error performing PUT http://127.0.0.1:7070/lake/raw/_delta_log/1.json in "
    "12ms - HTTP error: error sending request: Connection reset by peer"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of its own, and an environment that tells of no store."""
    for name in [n for n in os.environ if n.startswith(("AWS_", "LAKEHOUSE_"))]:
        monkeypatch.delenv(name)
    # What load_settings puts there goes with the test.
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def with_store(monkeypatch: pytest.MonkeyPatch, url: str) -> Settings:
    for name, value in (KEYS | {"LAKEHOUSE_STORE": url}).items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_tables_lie_in_the_store_and_what_one_machine_works_with_at_home(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = with_store(monkeypatch, "s3://lake/deep/")
    assert str(settings.raw) == "s3://lake/deep/raw"
    assert str(settings.published / "marts") == "s3://lake/deep/published/marts"
    assert settings.warehouse == folder / "lake" / "warehouse.duckdb"
    assert settings.state == folder / "lake" / "state"
    monkeypatch.delenv("LAKEHOUSE_STORE")
    assert load_settings().raw == folder / "lake" / "raw"


@pytest.mark.parametrize("url", ["lake", "/data/lake", "s3:///folder", "gs://lake"])
def test_what_is_no_store_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    with pytest.raises(UsageError, match="store"):
        with_store(monkeypatch, url)


def test_missing_keys_are_told_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = with_store(monkeypatch, "s3://lake")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(LakehouseError, match="AWS_SECRET_ACCESS_KEY not set"):
        _ = settings.raw


def test_keys_may_stand_in_the_env_file_and_the_environment_wins(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text(
        "LAKEHOUSE_STORE=s3://lake\nAWS_ACCESS_KEY_ID=of the file\nAWS_SECRET_ACCESS_KEY=secret\n"
        "OTHER=not ours\n"
    )
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of the environment")
    assert str(load_settings().raw) == "s3://lake/raw"
    assert os.environ["AWS_ACCESS_KEY_ID"] == "of the environment"
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "secret"
    assert "OTHER" not in os.environ


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (CommitFailedError("another was first"), 2),
        (OSError(UNANSWERED), 2),
        # delta-rs has tried that one itself, for minutes.
        (OSError("Generic S3 error: Error performing PUT http://x after 10 retries"), 1),
        (OSError("Generic S3 error: Error performing GET http://x in 2ms"), 1),
        (OSError("No space left on device"), 1),
    ],
)
def test_a_commit_whose_answer_was_lost_is_begun_again(error: Exception, tries: int) -> None:
    told = 0

    @again_if_overtaken
    def commit() -> None:
        nonlocal told
        told += 1
        if told == 1:
            raise error

    if tries == 1:
        with pytest.raises(type(error)):
            commit()
    else:
        commit()
    assert told == tries


def test_an_error_of_the_store_comes_with_a_remedy_and_others_as_they_are(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = with_store(monkeypatch, "s3://lake")
    monkeypatch.setattr(object_store, "check", lambda url: None)
    with (
        pytest.raises(LakehouseError, match="s3://lake does not do what it is asked") as told,
        clear_about_storage(settings),
    ):
        raise OSError(UNANSWERED)
    assert "AWS_ENDPOINT_URL" in told.value.remedy
    with pytest.raises(OSError, match="somewhere else"), clear_about_storage(settings):
        raise OSError("somewhere else")
