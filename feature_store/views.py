"""What is known of a product, a client, and of both together: a view a published table.

A row is true from the end of its `feature_date` on: Feast's time of it, `known_at`, is the midnight
that follows. Decimals are read as doubles, for Feast has none.
"""

from __future__ import annotations

from datetime import timedelta

from feast import Entity, FeatureView, Field, FileSource
from feast.data_format import DeltaFormat
from feast.types import Bool, ComplexFeastType, Float64, Int64, PrimitiveFeastType, String

from feature_store.entities import OWNER, client, product

Type = ComplexFeastType | PrimitiveFeastType
FOREVER = timedelta(0)


def _view(
    table: str, description: str, entities: list[Entity], ttl: timedelta, **features: Type
) -> FeatureView:
    source = FileSource(
        name=table,
        # By which the offline store finds the published version.
        path=f"features/{table}",
        timestamp_field="known_at",
        file_format=DeltaFormat(),
    )
    keys = [Field(name=entity.join_key, dtype=Int64) for entity in entities]
    return FeatureView(
        name=table.removeprefix("feat_"),
        description=description,
        entities=entities,
        ttl=ttl,
        schema=[*keys, *(Field(name=name, dtype=kind) for name, kind in features.items())],
        source=source,
        online=True,
        tags={"layer": "features", "table": f"features.{table}"},
        owner=OWNER,
    )


product_day = _view(
    "feat_product_day",
    "Sales, promotions and stock of a product up to the end of a day; a new row every day.",
    [product],
    timedelta(days=2),
    quantity=Int64,
    net_amount=Float64,
    discount_amount=Float64,
    stores_on_display=Int64,
    stores_in_mailer=Int64,
    is_stock_out=Bool,
    quantity_lag_1=Int64,
    quantity_lag_7=Int64,
    quantity_lag_14=Int64,
    quantity_lag_28=Int64,
    quantity_mean_7=Float64,
    quantity_mean_28=Float64,
    quantity_mean_56=Float64,
    quantity_deviation_28=Float64,
    unit_price_28=Float64,
    discount_depth_28=Float64,
    days_since_sale=Int64,
)
client_week = _view(
    "feat_client",
    "Purchases of a client up to the end of a Sunday, and of the business date.",
    [client],
    timedelta(days=8),
    tenure_days=Int64,
    recency_days=Int64,
    order_count=Int64,
    order_count_28d=Int64,
    order_count_84d=Int64,
    net_amount=Float64,
    net_amount_28d=Float64,
    net_amount_84d=Float64,
    quantity_84d=Int64,
    mean_gap_days=Float64,
    gap_deviation_days=Float64,
    mean_basket_amount_84d=Float64,
    mean_basket_lines_84d=Float64,
    product_count=Int64,
    department_count_84d=Int64,
    promo_share_84d=Float64,
)
client_product = _view(
    "feat_client_product",
    "What a client has bought of a product; true until the next purchase, without a past.",
    [client, product],
    FOREVER,
    purchase_count=Int64,
    quantity=Int64,
    decayed_count=Float64,
)
price_elasticity = _view(
    "feat_price_elasticity",
    "How sales of a product follow its price, as of the business date alone.",
    [product],
    timedelta(days=2),
    estimate=Float64,
    standard_error=Float64,
    observation_count=Int64,
    is_pooled=Bool,
)
product_content = _view(
    "feat_product_content",
    "What describes a product now.",
    [product],
    FOREVER,
    department=String,
    category=String,
    brand=String,
    product_type=String,
    package_size=String,
    **{f"token_hash_{n}": Int64 for n in range(16)},
)
