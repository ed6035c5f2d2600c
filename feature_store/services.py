"""Which features a model gets: a service a model and version, so that training and use agree."""

from __future__ import annotations

from feast import FeatureService

from feature_store import days, views
from feature_store.entities import OWNER

forecast_v1 = FeatureService(
    name="forecast_v1",
    features=[views.product_day, days.calendar],
    description="Demand of a product: its past up to a day, and the calendar of the day ahead.",
    owner=OWNER,
)
recommend_v1 = FeatureService(
    name="recommend_v1",
    features=[
        views.client_product,
        views.client_week[["recency_days", "order_count_84d", "mean_basket_amount_84d"]],
        views.product_content,
    ],
    description="Whether a client buys a product: what it bought, how it buys, what that is.",
    owner=OWNER,
)
churn_v1 = FeatureService(
    name="churn_v1",
    features=[views.client_week],
    description="Whether a client comes back.",
    owner=OWNER,
)
