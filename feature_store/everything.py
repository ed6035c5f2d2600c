"""All that is registered."""

from __future__ import annotations

from feature_store import days, entities, services, views

VIEWS = (
    views.product_day,
    views.client_week,
    views.client_product,
    views.price_elasticity,
    views.product_content,
)
SERVICES = (services.forecast_v1, services.recommend_v1, services.churn_v1)
OBJECTS = [entities.product, entities.client, *VIEWS, days.calendar, *SERVICES]
