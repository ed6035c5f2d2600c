"""A made-up shop whose tables are published without a build, for what reads published tables."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from pipelines.lake.duck import connect
from pipelines.lake.publish import Source, publish
from pipelines.settings import Settings
from tests.unit.forecast_data import promoted_sales
from tests.unit.purchases import habits

PRODUCTS, CLIENTS = 24, 80
_DAYS, _AHEAD = 200, 28
_FIRST = date(2024, 1, 1)
BUSINESS_DATE = _FIRST + timedelta(days=_DAYS)
_TABLES = {
    "features.feat_product_day": """
        select product_id, feature_date, quantity,
            cast(quantity * (2 + product_id % 5) as decimal(18, 2)) as net_amount,
            cast(quantity * 0.25 as decimal(18, 2)) as discount_amount
        from sold where feature_date < date '{today}'
    """,
    "marts.fct_promotion_week": """
        select product_id, feature_date as week_start_date,
            cast(promoted * 3 as bigint) as stores_on_display,
            cast(promoted * (1 + product_id % 2) as bigint) as stores_in_mailer
        from sold where isodow(feature_date) = 1
    """,
    "marts.dim_product": """
        select number as product_id, true as is_current, 'department ' || number % 3 as department,
            'category ' || number % 5 as category, 'brand ' || number % 2 as brand
        from range(100) as product (number)
    """,
    "marts.fct_sale": """
        select
            cast(substr(client_id, 2) as bigint) + 5000000000 as client_id,
            cast(substr(product_id, 2) as bigint) as product_id,
            "at" at time zone 'UTC' as sold_at,
            cast("at" as date) as sale_date,
            epoch_us("at") + cast(substr(client_id, 2) as bigint) as order_id,
            cast(1 as bigint) as quantity,
            cast(2 as decimal(18, 2)) as net_amount
        from purchase
    """,
}


def publish_shop(settings: Settings) -> None:
    """Publish sales that follow promotions, and clients of four tastes, up to `BUSINESS_DATE`."""
    quantity, promoted = promoted_sales(PRODUCTS, _DAYS + _AHEAD)
    days = pa.array(np.datetime64(_FIRST) + np.arange(_DAYS + _AHEAD))
    sold = pa.table(
        {
            "product_id": np.repeat(np.arange(PRODUCTS), len(days)),
            "feature_date": pa.array(np.tile(days, PRODUCTS)),
            "quantity": quantity.ravel().astype(np.int64),
            "promoted": promoted.ravel(),
        }
    )
    purchase = habits(CLIENTS)
    with connect(settings) as connection:
        connection.register("sold", sold)
        # Both end on the same day.
        purchase["at"] += np.datetime64(BUSINESS_DATE) - purchase["at"].max().ceil("D")
        connection.register("purchase", purchase)
        connection.execute("create schema features; create schema marts")
        for name, sql in _TABLES.items():
            connection.execute(f"create table {name} as {sql.format(today=BUSINESS_DATE)}")
        publish(
            connection, [Source(*name.split(".")) for name in _TABLES], settings.published,
            run_id="made up", build_id="made up", business_date=str(BUSINESS_DATE),
        )  # fmt: skip
