"""Promotions: the real weekly plan of displays and mailers, for the products kept in stock."""

import duckdb

from pipelines.demo.basics import Tx

# The package's week 1 starts on Monday 2016-12-26. The file holds some product, store and week
# twice (on two displays): count stores, not rows.
_PLAN = """
create table plan as
select product_id, week::integer as week, date '2016-12-19' + 7 * week::integer as week_start,
    count(distinct store_id) filter (display_location <> '0')::integer as stores_on_display,
    count(distinct store_id) filter (mailer_location <> '0')::integer as stores_in_mailer,
    any_value(md5_number(concat_ws(':', 'promotion', product_id, week))) as dice
from package_promotion semi join stocked using (product_id)
group by product_id, week
"""

# The plan of a week is entered in one go on the Friday before. One row in a hundred is entered
# with a wrong count and put right on Saturday; a few more are called off.
_EVENTS = f"""
create table ev_promotion as
with called_off as (
    select product_id, week + 2 as week, week_start + 14 as week_start, stores_on_display,
        stores_in_mailer, dice
    from plan where roll(dice, 1) < 0.05 and week <= 51
    and not exists (
        from plan p where p.product_id = plan.product_id and p.week = plan.week + 2)
), entered as (
    select *, roll(dice, 0) < 0.01 as mistyped, false as called_off from plan
    union all
    select *, false, true from called_off
), timed as (
    select *, week_start - interval 57 hours + to_microseconds(1000003 * week) as entered_at,
        week_start - interval 36 hours + seconds(0, 28800, fine(dice, 2)) as fixed_at
    from entered
), step as (
    select *, entered_at as commit_at, {Tx.PLAN} as tx_kind, week as tx_id, 'c' as op from timed
    union all
    select *, commit_time(fixed_at, dice), {Tx.PLAN_FIX}, product_id * 100 + week,
        case when called_off then 'd' else 'u' end
    from timed where mistyped or called_off
)
select commit_at, tx_kind, tx_id, op, product_id, week_start,
    case when mistyped and op = 'c' then stores_on_display + 10 else stores_on_display end
        as stores_on_display,
    stores_in_mailer, week
from step
"""


def build(con: duckdb.DuckDBPyConnection) -> None:
    """Makes the events of promotion, from `stocked`."""
    con.execute(_PLAN)
    con.execute(_EVENTS)
