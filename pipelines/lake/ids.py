"""Identifiers of runs and batches: unique, and sorted by time as text."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime


def now() -> datetime:
    """The wall clock in UTC; for run records and landing times, never for models."""
    return datetime.now(UTC)


def new_id() -> str:
    """`YYYYMMDDTHHMMSSffffff-xxxxxx`: the time in UTC and 24 random bits."""
    return f"{now():%Y%m%dT%H%M%S%f}-{secrets.token_hex(3)}"
