"""Whether a source database and this machine agree on the time."""

from __future__ import annotations

from pipelines.checks.finding import Finding

_MOST_SKEW_SECONDS = 5.0


def clock(check: str, asked: float, now: float, answered: float) -> Finding:
    """By what the clocks differ at least, however long the answer took.

    Args:
        check: what is checked.
        asked, answered: when this machine asked, and had its answer; seconds since 1970.
        now: what the database told.
    """
    skew = max(asked - now, now - answered, 0.0)
    fits = skew <= _MOST_SKEW_SECONDS
    return Finding(
        f"{check}: clock", fits, f"{skew:.1f} s from the clock of this machine",
        "" if fits else "set both by NTP: how fresh the tables are is told by the source's clock",
    )  # fmt: skip
