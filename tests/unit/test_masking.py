"""Masking: one hash in Python and in DuckDB, seals that hold, and a key that is kept."""

from __future__ import annotations

import hashlib
import hmac
import stat
from pathlib import Path

import duckdb
import pytest

from pipelines.cdc.masking import Masker, key_file_is_private, load_masker
from pipelines.errors import LakehouseError
from pipelines.settings import Settings

SECRET = b"sixteen bytes or more"


def settings_of(folder: Path, key: str | None = None) -> Settings:
    return Settings(home=folder / "lake", pii_key=key, _env_file=None)


@pytest.fixture(autouse=True)
def no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LAKEHOUSE_PII_KEY", "LAKEHOUSE_PII_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("length", [16, 63, 64, 65, 200])
def test_the_hash_in_duckdb_is_hmac_sha256(length: int) -> None:
    secret = bytes(range(1, length + 1))
    texts = ["", "ada@example.org", "Käse 🧀", "x" * 1000, "a\0b", None]
    with duckdb.connect() as connection:
        Masker(secret).install(connection)
        rows = connection.execute("select mask_hash(unnest(?::varchar[]))", [texts]).fetchall()
    expected = [
        text if text is None else hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
        for text in texts
    ]
    assert [value for (value,) in rows] == expected
    assert expected[:-1] == [Masker(secret).hash(text) for text in texts if text is not None]


def test_another_key_gives_other_hashes() -> None:
    assert Masker(SECRET).hash("ada") != Masker(SECRET + b"!").hash("ada")
    assert Masker(SECRET).fingerprint != Masker(SECRET + b"!").fingerprint


@pytest.mark.parametrize("plain", [b"", b"a line", "Käse".encode(), b"\xff\x00", b"x" * 100_000])
def test_what_was_sealed_can_be_opened(plain: bytes) -> None:
    assert Masker(SECRET).unseal(Masker(SECRET).seal(plain)) == plain


def test_the_same_text_is_never_sealed_alike() -> None:
    assert Masker(SECRET).seal(b"a line") != Masker(SECRET).seal(b"a line")


def test_an_altered_seal_is_refused() -> None:
    sealed = Masker(SECRET).seal(b"a line")
    altered = [sealed[:n] + bytes([sealed[n] ^ 1]) + sealed[n + 1 :] for n in range(len(sealed))]
    for wrong in (*altered, sealed[:-1], sealed[:5], b""):
        with pytest.raises(LakehouseError, match="LAKEHOUSE_PII_KEY"):
            Masker(SECRET).unseal(wrong)


def test_a_seal_does_not_open_with_another_key() -> None:
    with pytest.raises(LakehouseError):
        Masker(SECRET + b"!").unseal(Masker(SECRET).seal(b"a line"))


def test_a_short_key_is_refused() -> None:
    with pytest.raises(LakehouseError, match="15 bytes; 16 are the least"):
        Masker(b"x" * 15)


def test_the_key_is_made_beside_the_lake_for_its_owner_alone(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    masker = load_masker(settings)
    file = tmp_path / ".lake-pii.key"
    assert settings.resolved_pii_key_file == file
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert key_file_is_private(file)
    key = file.read_text().strip()
    assert len(key) == 64
    for path in settings.home.rglob("*"):
        assert path.is_dir() or key not in path.read_text()
    assert load_masker(settings).fingerprint == masker.fingerprint


def test_a_key_file_that_others_may_read_is_told(tmp_path: Path) -> None:
    load_masker(settings_of(tmp_path))
    file = tmp_path / ".lake-pii.key"
    file.chmod(0o640)
    assert not key_file_is_private(file)


def test_a_key_from_the_environment_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_PII_KEY", SECRET.decode())
    masker = load_masker(Settings(home=tmp_path / "lake", _env_file=None))
    assert masker.hash("ada") == Masker(SECRET).hash("ada")
    assert not (tmp_path / ".lake-pii.key").exists()


def test_another_key_than_before_is_refused(tmp_path: Path) -> None:
    load_masker(settings_of(tmp_path, "the first key of this lake"))
    with pytest.raises(LakehouseError, match="not the one this lake was begun with"):
        load_masker(settings_of(tmp_path, "the second key of this lake"))
    load_masker(settings_of(tmp_path, "the first key of this lake"))


def test_a_lost_key_is_refused_and_not_replaced(tmp_path: Path) -> None:
    load_masker(settings_of(tmp_path))
    (tmp_path / ".lake-pii.key").unlink()
    with pytest.raises(LakehouseError, match=r"masking key of this lake is missing.*restore"):
        load_masker(settings_of(tmp_path))
    assert not (tmp_path / ".lake-pii.key").exists()


def test_a_look_at_the_key_makes_none(tmp_path: Path) -> None:
    with pytest.raises(LakehouseError, match="missing"):
        load_masker(settings_of(tmp_path), create=False)
    assert list(tmp_path.iterdir()) == []
