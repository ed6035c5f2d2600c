"""The whole year of the Complete Journey as a panel, with its promotions as the plan."""

from __future__ import annotations

import duckdb

from pipelines.demo.package import data_folder
from pipelines.forecasting.lines import panel_of
from pipelines.forecasting.panel import Panel

# The till counts fuel by weight and coupons as goods; nothing there is a product in pieces.
_LINES = """
select
    t.product_id,
    t.transaction_timestamp::date as date,
    t.quantity,
    t.sales_value as revenue,
    t.retail_disc as discount,
    p.department,
    p.product_category as category,
    p.brand
from '{data}/transactions.parquet' t
join '{data}/products.parquet' p using (product_id)
where p.department not in ('FUEL', 'MISCELLANEOUS', 'COUPON')
    and t.transaction_timestamp < timestamp '2018-01-01'
    and t.quantity > 0
"""

# Promotions are of weeks; a day belongs to the week that most of its sales name.
_PLAN = """
with day as (
    select transaction_timestamp::date as date, mode(week) as week
    from '{data}/transactions.parquet'
    where transaction_timestamp < timestamp '2018-01-01'
    group by all
),
store as (select count(distinct store_id) as stores from '{data}/promotions.parquet'),
promoted as (
    select
        product_id,
        week,
        count(*) filter (where mailer_location <> '0') as mailer,
        count(*) filter (where mailer_location in ('A', 'D', 'H')) as mailer_front,
        count(*) filter (where display_location <> '0') as display
    from '{data}/promotions.parquet'
    where product_id in (select product_id from line)
    group by all
)
select
    product_id,
    date,
    mailer / stores as mailer,
    mailer_front / stores as mailer_front,
    display / stores as display
from promoted join day using (week) cross join store
"""
_CLOSED = ("12-25",)


def load_year(most: int = 3_000) -> Panel:
    """The panel of 2017, without the long tail.

    Args:
        most: how many products to keep, by the year's revenue. Of the default, the thousand best
            sellers up to any day from mid July on are a part, so an origin's choice knows no more
            than it should.
    """
    folder = str(data_folder()).replace("'", "''")
    with duckdb.connect() as con:
        con.execute("set threads = 2")
        con.execute("create table line as " + _LINES.format(data=folder))
        con.execute(
            "delete from line where product_id not in (select product_id from line "
            f"group by all order by sum(revenue) desc, product_id limit {most})"
        )
        return panel_of(con.table("line"), plan=con.sql(_PLAN.format(data=folder)), closed=_CLOSED)
