"""Of what there are features."""

from __future__ import annotations

from feast import Entity, ValueType

OWNER = "data-science"

product = Entity(
    name="product",
    join_keys=["product_id"],
    value_type=ValueType.INT64,
    description="A product, by its number in the shop.",
    owner=OWNER,
)
client = Entity(
    name="client",
    join_keys=["client_id"],
    value_type=ValueType.INT64,
    description="A client, by its number in the shop.",
    owner=OWNER,
)
