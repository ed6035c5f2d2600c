"""Snapshots of the clients of the Complete Journey, as `features.feat_client` has them."""

from __future__ import annotations

from datetime import date

import duckdb
import pyarrow as pa

from pipelines.demo.package import data_folder

BUSINESS_DATE = date(2018, 1, 1)

_LINES = """
create table line as
select
    t.household_id as client_id,
    t.basket_id as order_id,
    t.product_id,
    t.quantity,
    t.sales_value::decimal(18, 2) as net_amount,
    t.retail_disc::decimal(17, 2) + t.coupon_match_disc::decimal(17, 2) > 0 as is_promoted,
    coalesce(p.department, 'unknown') as department,
    t.transaction_timestamp::date as day
from '{data}/transactions.parquet' t
left join '{data}/products.parquet' p using (product_id)
"""

_PURCHASES = "select distinct client_id, day as purchase_date from line order by all"

# A snapshot knows its day to the end. What is undefined, as the gap of one visit, is null.
_SNAPSHOTS = """
with snapshot_day as (
    select unnest(generate_series(
        date '2017-01-01', date '2017-12-31', interval 7 day
    ))::date as feature_date
    union all
    select date '{business_date}'
),
visit as (
    select
        client_id,
        day,
        day - lag(day) over (partition by client_id order by day) as gap
    from (select distinct client_id, day from line)
),
habit as (
    select
        client_id,
        feature_date,
        feature_date - min(day) as tenure_days,
        feature_date - max(day) as recency_days,
        round(avg(gap), 4) as mean_gap_days,
        case when count(gap) >= 2 then round(stddev_pop(gap), 4) end as gap_deviation_days
    from snapshot_day join visit on day <= feature_date
    group by client_id, feature_date
),
basket as (
    select
        client_id,
        order_id,
        min(day) as day,
        sum(net_amount) as net_amount,
        sum(quantity) as quantity,
        count(*) as lines,
        count(*) filter (where is_promoted) as promoted
    from line
    group by all
),
bought as (
    select
        client_id,
        feature_date,
        count(*) as order_count,
        count(*) filter (where day > feature_date - 28) as order_count_28d,
        count(*) filter (where day > feature_date - 84) as order_count_84d,
        sum(basket.net_amount) as net_amount,
        coalesce(sum(basket.net_amount) filter (where day > feature_date - 28), 0)
            as net_amount_28d,
        coalesce(sum(basket.net_amount) filter (where day > feature_date - 84), 0)
            as net_amount_84d,
        coalesce(sum(basket.quantity) filter (where day > feature_date - 84), 0) as quantity_84d,
        round(
            (sum(basket.net_amount) filter (where day > feature_date - 84))::double
                / count(*) filter (where day > feature_date - 84),
            4
        ) as mean_basket_amount_84d,
        round(avg(lines) filter (where day > feature_date - 84), 4) as mean_basket_lines_84d,
        round(
            sum(promoted) filter (where day > feature_date - 84)
                / sum(lines) filter (where day > feature_date - 84),
            4
        ) as promo_share_84d
    from snapshot_day join basket on day <= feature_date
    group by client_id, feature_date
),
product as (
    select client_id, feature_date, count(*) as product_count
    from snapshot_day
    join (select client_id, product_id, min(day) as day from line group by all)
        on day <= feature_date
    group by all
),
department as (
    select client_id, feature_date, count(distinct department) as department_count_84d
    from snapshot_day
    join (select distinct client_id, department, day from line)
        on day <= feature_date and day > feature_date - 84
    group by all
)
select * replace (coalesce(department_count_84d, 0) as department_count_84d)
from habit
join bought using (client_id, feature_date)
join product using (client_id, feature_date)
left join department using (client_id, feature_date)
order by feature_date, client_id
"""


def load_year() -> tuple[pa.Table, pa.Table]:
    """The snapshots of 2017, on Sundays and on the last day, and the days of purchases."""
    folder = str(data_folder()).replace("'", "''")
    with duckdb.connect() as con:
        con.execute("set threads = 2")
        con.execute(_LINES.format(data=folder))
        snapshots = con.sql(_SNAPSHOTS.format(business_date=BUSINESS_DATE)).to_arrow_table()
        return snapshots, con.sql(_PURCHASES).to_arrow_table()
