"""Masking: keyed hashes of personal data in bulk, and sealing of the few payloads kept whole."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path

import duckdb
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipelines.errors import LakehouseError
from pipelines.settings import Settings

_SHA256_BLOCK_BYTES = 64
_NONCE_BYTES = 12
_MINIMUM_KEY_BYTES = 16


class Masker:
    """Hashes and seals with one secret, from which the keys of both uses are derived.

    Args:
        secret: at least 16 bytes; whoever holds it can link hashes to persons.

    References: HMAC is RFC 2104, HKDF is RFC 5869.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < _MINIMUM_KEY_BYTES:
            raise LakehouseError(
                f"the masking key has {len(secret)} bytes; {_MINIMUM_KEY_BYTES} are the least",
                "make one with: python -c 'import secrets; print(secrets.token_hex(32))'",
            )
        self._secret = secret
        seal_key = HKDF(SHA256(), length=32, salt=None, info=b"lakehouse seal v1").derive(secret)
        self._cipher = AESGCM(seal_key)

    def __reduce__(self) -> tuple[type[Masker], tuple[bytes]]:
        """Goes to other processes as its secret."""
        return Masker, (self._secret,)

    @property
    def fingerprint(self) -> str:
        """Names the key without telling it; equal keys have equal fingerprints."""
        return self.hash("lakehouse key fingerprint")[:16]

    def hash(self, text: str) -> str:
        """HMAC-SHA256 of the UTF-8 text, 64 hex digits."""
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()

    def install(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Define `mask_hash(text)` in a connection: the same value as `hash`, in bulk."""
        block = self._secret
        if len(block) > _SHA256_BLOCK_BYTES:
            block = hashlib.sha256(block).digest()
        block = block.ljust(_SHA256_BLOCK_BYTES, b"\0")
        for name, pad in (("inner", 0x36), ("outer", 0x5C)):
            value = bytes(byte ^ pad for byte in block)
            connection.execute(f"set variable mask_{name} = ?", [value])
        connection.execute(
            "create or replace temp macro mask_hash(plain) as sha256(getvariable('mask_outer') || "
            "unhex(sha256(getvariable('mask_inner') || encode(plain))))"
        )

    def seal(self, plain: bytes) -> bytes:
        """Encrypt with AES-256-GCM; the nonce stands before the ciphertext."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, None)

    def unseal(self, sealed: bytes) -> bytes:
        """Decrypt what `seal` made.

        Raises:
            LakehouseError: it was sealed with another key, or altered.
        """
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
        except (InvalidTag, ValueError):
            raise LakehouseError(
                "a sealed payload does not open with this masking key",
                "set LAKEHOUSE_PII_KEY to the key that was in use when it was landed",
            ) from None

    def seal_text(self, text: str) -> str:
        """Encrypt a text; as base64, for columns of text."""
        return base64.b64encode(self.seal(text.encode())).decode()

    def unseal_json(self, text: str) -> str:
        """Decrypt a JSON object that `seal_text` made; one that never was sealed stays as it is.

        Raises:
            LakehouseError: it was sealed with another key, or altered.
        """
        return text if text.startswith("{") else self.unseal(base64.b64decode(text)).decode()


def load_masker(settings: Settings, *, create: bool = True) -> Masker:
    """The masker of this lake; refuses a key other than the one the lake was begun with.

    Args:
        create: make a key file (mode 0600, beside the lake) where there is none yet.

    Raises:
        LakehouseError: no key for a lake that has data, or another key than before.
    """
    # With the tables: who shares a store must share the key, too.
    mark = (settings.shared if settings.store else settings.state) / "pii-key.fingerprint"
    known = mark.read_text().strip() if mark.exists() else None
    masker = Masker(_secret(settings, may_create=create and known is None))
    if known is None and create:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(masker.fingerprint + "\n")
    elif known is not None and known != masker.fingerprint:
        raise LakehouseError(
            "the masking key is not the one this lake was begun with: hashes would no longer join",
            f"put the former key back into LAKEHOUSE_PII_KEY or {settings.resolved_pii_key_file}",
        )
    return masker


def _secret(settings: Settings, *, may_create: bool) -> bytes:
    if settings.pii_key:
        return settings.pii_key.encode()
    file = settings.resolved_pii_key_file
    if file.exists():
        return file.read_text().strip().encode()
    if not may_create:
        raise LakehouseError(
            f"the masking key of this lake is missing: no LAKEHOUSE_PII_KEY, no file {file}",
            "restore the key; without it new hashes would not join the old ones",
        )
    secret = secrets.token_hex(32)
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(secret + "\n")
    return secret.encode()


def key_file_is_private(path: Path) -> bool:
    """Whether nobody but the owner may read the key file."""
    return path.stat().st_mode & 0o077 == 0
