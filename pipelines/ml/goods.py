"""Which products are goods in pieces: what the till sells by weight or as paper is none."""

from __future__ import annotations

from pipelines.lake.sql import literal
from pipelines.settings import Settings


def is_goods(settings: Settings, product: str) -> str:
    """A condition in SQL on the department of a product.

    Args:
        product: alias of `marts.dim_product`.
    """
    names = [name.strip() for name in settings.departments_left_out.split(",") if name.strip()]
    if not names:
        return "true"
    listed = ", ".join(literal(name) for name in names)
    return f"coalesce({product}.department, '') not in ({listed})"
