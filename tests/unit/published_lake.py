"""A small published lake: ten weeks of four products, as marts have them."""

from __future__ import annotations

from pathlib import Path

import duckdb

from pipelines.lake.publish import Source, publish
from pipelines.settings import Settings

BUSINESS_DATE = "2017-03-08"
FIRST_DAY = "2016-12-26"
NASTY = "<b>\"Fish\" & 'Chips'</b>"

_SALES = f"""create table marts.fct_sale as
    select
        row_number() over () as sale_id,
        10 * (cast(day as date) - date '{FIRST_DAY}') + product as order_id,
        cast(product as bigint) as product_id,
        -- The second client buys in the last whole week for the first time.
        cast(case when day >= date '2017-03-01' and product = 2 then 2 else 1 end as bigint)
            as client_id,
        cast(case when product = 4 then null else 5 end as integer) as store_id,
        cast(day as date) as sale_date,
        cast(product + (cast(day as date) - date '{FIRST_DAY}') % 3 as bigint) as quantity,
        cast(10.5 * product + 1000 * (product = 3)::int as decimal(18, 2)) as gross_amount,
        cast(10.25 * product + 900 * (product = 3)::int
            + case when day >= date '2017-02-27' then -product else 0 end as decimal(18, 2))
            as net_amount
    from generate_series(date '{FIRST_DAY}', date '2017-03-07', interval 1 day) as d (day),
        (values (1), (2), (3), (4)) as p (product)
    where day <> date '2017-03-04'"""

_REST = [
    f"""create table marts.dim_product as
    select * from (values
        (1, '{NASTY.replace("'", "''")}', 'GROCERY & <more>', 9.99, true),
        (1, 'former name', 'GROCERY', 9.99, false),
        (2, null, 'MEAT', 4.50, true),
        (3, 'Gasoline', 'FUEL', 2.00, true)
    ) as p (product_id, product_name, department, list_price, is_current)""",
    """create table marts.fct_promotion_week as
    select 1 as product_id, date '2017-02-27' as week_start_date, true as is_on_display,
        false as is_in_mailer""",
    f"""create table marts.fct_inventory_snapshot as
    select cast(day as date) as snapshot_date, product as product_id, 1 as warehouse_id,
        cast(case when product = 1 and day >= date '2017-03-03' then 0 else 20 end as bigint)
            as on_hand,
        cast(3 as bigint) as received_quantity, cast(product as bigint) as sold_quantity,
        product = 1 and day >= date '2017-03-03' as is_stock_out
    from generate_series(date '{FIRST_DAY}', date '{BUSINESS_DATE}', interval 1 day) as d (day),
        (values (1), (2)) as p (product)""",
    f"""create table marts.mart_stock_coverage as
    select *, date '{BUSINESS_DATE}' as business_date, on_hand <= 0 as is_stock_out,
        on_hand < reorder_point as is_below_reorder_point
    from (values
        (1, 1, 0, 28, 1.0, 0.0, 10), (2, 1, 5, 28, 1.0, 5.0, 10), (2, 2, 500, 1, 0.04, 9999, 1)
    ) as c (product_id, warehouse_id, on_hand, sold_last_28_days, average_daily_demand,
        days_of_cover, reorder_point)""",
    """create table marts.fct_order as
    select order_id, 1 as transporter_id, timestamptz '2017-03-01 10:00:00+00' as ordered_at,
        timestamptz '2017-03-02 22:00:00+00' as delivered_at, order_id = 1 as is_late
    from (values (1), (2)) as o (order_id)""",
    """create table marts.dim_transporter as
    select 1 as transporter_id, 'Fast & Sons' as transporter_name, 'road' as transport_mode,
        2 as lead_time_days""",
]
_PREDICTIONS = [
    """create table predictions.mart_forecast_product_day as
    select * from (values
        (1, date '2017-03-06', date '2017-03-05', 2.5),
        (1, date '2017-03-06', date '2017-03-01', 9),
        (2, date '2017-03-06', date '2017-03-05', 1.25),
        (1, date '2017-03-07', date '2017-03-05', 3)
    ) as f (product_id, forecast_date, origin_date, mean)""",
    f"""create table predictions.mart_stock_projection as
    select *, date '{BUSINESS_DATE}' as business_date
    from (values (1, 0, 12.5, date '2017-03-09', 13), (2, 505, 10.0, null, 0))
        as s (product_id, on_hand, demand_until_replenished, stock_out_date, order_quantity)""",
]


def publish_shop(home: Path, *, predictions: bool = True) -> Settings:
    """Publish the small shop in a home, its prediction marts empty where there are none."""
    settings = Settings(home=home, _env_file=None)
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'; create schema marts; create schema predictions")
        for statement in (_SALES, *_REST, *_PREDICTIONS):
            connection.execute(statement)
        if not predictions:
            for table in ("mart_forecast_product_day", "mart_stock_projection"):
                connection.execute(f"delete from predictions.{table}")
        tables = connection.execute(
            "select table_schema, table_name from information_schema.tables"
        ).fetchall()
        publish(
            connection, [Source(*table) for table in tables], settings.published,
            run_id="run-1", build_id="build-1", business_date=BUSINESS_DATE,
        )  # fmt: skip
    return settings
