"""The nine tables of the source: their columns as a connector shows them, keys, partitions."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["integer", "decimal", "text", "boolean", "timestamp", "date"]


@dataclass(frozen=True)
class Column:
    """A column of the source; `field` is its name in the event table where that differs."""

    name: str
    kind: Kind
    field: str


@dataclass(frozen=True)
class Table:
    """A source table and its topic.

    Attributes:
        order_by: One or two whole numbers that stand for the key in the order of the log.
        partitions: How many partitions its topic has.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    order_by: tuple[str, ...]
    partitions: int = 1

    @property
    def topic(self) -> str:
        """The Kafka topic: server, schema, table."""
        return f"shop.public.{self.name}"


def _table(
    name: str, key: str, columns: str, partitions: int = 1, order_by: str | None = None
) -> Table:
    """Reads `columns` written as `name:kind` or `name=field:kind`."""
    kinds: dict[str, Kind] = {
        "i": "integer",
        "d": "decimal",
        "t": "text",
        "b": "boolean",
        "ts": "timestamp",
        "date": "date",
    }
    read = []
    for word in columns.split():
        names, kind = word.split(":")
        column, _, field = names.partition("=")
        read.append(Column(column, kinds[kind], field or column))
    return Table(
        name, tuple(key.split()), tuple(read), tuple((order_by or key).split()), partitions
    )


# Parents first: within a transaction, and in the snapshot, the log follows this order.
TABLES = (
    _table("transporter", "transporter_id", "transporter_id:i name:t mode:t lead_time_days:i"),
    _table(
        "product",
        "product_id",
        "product_id:i name:t brand:t department:t category:t type:t package_size:t list_price:d "
        "is_active:b",
    ),
    _table(
        "client",
        "client_id",
        "client_id:i full_name:t email:t phone:t age_band:t income_band:t household_size:t kids:t "
        "city:t created_at:ts",
    ),
    _table(
        "order",
        "order_id",
        "order_id:i client_id:i store_id:i transporter_id:i ordered_at:ts status:t",
        partitions=3,
    ),
    _table(
        "order_item",
        "order_id line_no",
        "order_id:i line_no:i product_id:i quantity:i unit_price:d discount_amount:d",
        partitions=3,
    ),
    _table(
        "sale",
        "sale_id",
        "sale_id:i order_id:i line_no:i product_id:i client_id:i quantity:i gross_amount:d "
        "discount_amount:d net_amount:d sold_at:ts",
        partitions=3,
    ),
    _table(
        "inventory_movement",
        "movement_id",
        "movement_id:i product_id:i warehouse_id:i kind:t quantity:i moved_at:ts",
        partitions=3,
    ),
    _table(
        "promotion",
        "product_id week_start",
        "product_id:i week_start:date stores_on_display:i stores_in_mailer:i",
        order_by="product_id week",
    ),
    _table(
        "client_interaction",
        "interaction_id",
        "interaction_id:i client_id:i product_id:i kind:t at=seen_at:ts",
        partitions=3,
    ),
)
