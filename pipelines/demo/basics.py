"""What every part of the shop shares: the log's bounds, dice that never change, transactions.

Each part makes a table `ev_<table>`, one row an event: `commit_at` (UTC), `tx_kind` and `tx_id`
(which rows commit together), `op` (c, u, d), then the columns of the source table as they are
after the event. Parts tell the whole story, also before the log opens: `log` folds
what lies before into the snapshot.
"""

from datetime import UTC, datetime
from enum import IntEnum

import duckdb

OPENING = datetime(2017, 1, 1, tzinfo=UTC)  # the connector starts with its snapshot
CLOSING = datetime(2018, 1, 2, tzinfo=UTC)  # nothing commits from here on


class Tx(IntEnum):
    """Kinds of transactions, in the order in which equal commit times are settled."""

    SNAPSHOT = 0
    TRANSPORTER = 1
    PRODUCT = 2
    PRICES = 3
    CLIENT = 4
    PLACED = 5
    ITEM = 6
    SHIPPED = 7
    CLOSED = 8
    MISTAKE = 9
    RECEIPT = 10
    COUNT = 11
    PLAN = 12
    PLAN_FIX = 13
    INTERACTION = 14


# Chance comes from md5 (`md5_number('what' || id)` is 128 bits): DuckDB's own hash() may change
# between versions, and with it the bytes that we promise.
_MACROS = f"""
create macro opening() as timestamp '{OPENING:%Y-%m-%d}';
create macro closing() as timestamp '{CLOSING:%Y-%m-%d}';
-- The k-th of eight numbers in [0, 1) that a throw of the dice holds.
create macro roll(dice, k) as
    (((dice >> (16 * k)::uhugeint) & 65535::uhugeint)::integer / 65536.0);
-- The k-th of four finer ones (k = 0..3 uses rolls 2k and 2k + 1).
create macro fine(dice, k) as
    (((dice >> (32 * k)::uhugeint) & 4294967295::uhugeint)::bigint / 4294967296.0);
-- A whole number of seconds between two bounds, by chance u.
create macro seconds(low, high, u) as to_seconds(low + floor((high - low) * u)::bigint);
-- A commit falls within the second that the application writes down.
create macro commit_time(t, dice) as
    t + to_microseconds(1 + ((dice >> 96::uhugeint) & 4294967295::uhugeint)::bigint % 999998);
-- The moment that lies a share of the way from a to b.
create macro partway(a, b, share) as
    a + to_microseconds(floor((epoch_us(b) - epoch_us(a)) * share)::bigint);
-- Stock weeks run from Monday 05:30 UTC; week 0 holds the opening.
create macro stock_week(t) as
    (epoch_us(t) - epoch_us(timestamp '2016-12-26 05:30:00')) // 604800000000;
create macro stock_week_start(w) as timestamp '2016-12-26 05:30:00' + to_days(7 * w::integer);
"""


def prepare(con: duckdb.DuckDBPyConnection) -> None:
    """Settings and macros of the working database."""
    con.execute("set TimeZone = 'UTC'")
    con.execute("set preserve_insertion_order = true")
    con.execute(_MACROS)
