"""Identifiers of runs and batches: unique, and sorted by time as text."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from uuid6 import uuid7


def now() -> datetime:
    """The wall clock in UTC; for run records and landing times, never for models."""
    return datetime.now(UTC)


def new_run_id() -> str:
    """A UUID of version 7 (RFC 9562), sorted by time; lineage and Prefect know runs by UUIDs."""
    return str(uuid7())


def new_id() -> str:
    """Of a batch: `YYYYMMDDTHHMMSSffffff-xxxxxx`: the time in UTC and 24 random bits."""
    return f"{now():%Y%m%dT%H%M%S%f}-{secrets.token_hex(3)}"
