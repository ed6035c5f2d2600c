"""What a check found out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The outcome of one check; the remedy is empty when all is well."""

    check: str
    ok: bool
    detail: str
    remedy: str = ""
