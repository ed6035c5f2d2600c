"""Checks of a MariaDB database that changes are captured from: its binlog."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from pipelines.checks.finding import Finding
from pipelines.checks.source_clock import clock
from pipelines.contract import Table
from pipelines.source.mariadb import log_settings, snapshot

_CHECK = "source database"
_DAY_SECONDS = 86_400
# The first is not known to servers before 10.6.
_KEPT = ("binlog_expire_logs_seconds", "expire_logs_days")


def check(url: str, contracted: Sequence[Table]) -> Iterator[Finding]:
    """Version, what the log holds and for how long, clock, and the contracts' tables.

    Args:
        contracted: the tables that are captured from such databases.

    Raises:
        LakehouseError: the database is not reached, or refuses.
    """
    asked = time.time()
    with snapshot(url) as cursor:
        cursor.execute("select unix_timestamp(now(6)), version(), database()")
        ((now, version, database),) = cursor.fetchall()
        answered = time.time()
        settings = list(log_settings(cursor))
        cursor.execute("show global variables where variable_name in %s", [_KEPT])
        kept = dict(cursor.fetchall())
        cursor.execute(
            "select table_name from information_schema.tables where table_schema = database()"
        )
        there = {name for (name,) in cursor.fetchall()}
    yield Finding(_CHECK, True, f"MariaDB {version}")
    for setting in settings:
        yield Finding(
            f"{_CHECK}: {setting.name}", not setting.remedy, setting.value, setting.remedy
        )
    yield _kept(kept)
    yield _tables(database, [t.name for t in contracted if t.namespace == database], there)
    yield clock(_CHECK, asked, float(now), answered)


def _kept(variables: Mapping[str, str]) -> Finding:
    """How long a connector may be away; zero is for ever."""
    seconds = float(variables.get("binlog_expire_logs_seconds", 0))
    seconds = seconds or float(variables.get("expire_logs_days", 0)) * _DAY_SECONDS
    fits = seconds == 0 or seconds >= _DAY_SECONDS
    told = f"kept for {seconds / 3600:,.4g} hours" if seconds else "kept until somebody purges it"
    remedy = (
        "keep a week (binlog_expire_logs_seconds = 604800, before 10.6 expire_logs_days = 7): a "
        "connector that was away for longer has lost changes"
    )
    return Finding(f"{_CHECK}: log", fits, told, "" if fits else remedy)


def _tables(database: str, contracted: Sequence[str], there: set[str]) -> Finding:
    missing = sorted(set(contracted) - there)
    remedy = (
        f"not there, or this user may not read them: {', '.join(missing)}; `grant select`, or take "
        "their contracts away"
    )
    return Finding(
        f"{_CHECK}: tables",
        not missing,
        f"{len(contracted) - len(missing)} of the contracts are there, in {database}",
        remedy if missing else "",
    )
