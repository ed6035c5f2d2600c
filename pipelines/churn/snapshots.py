"""What is known of each client on each snapshot day, and on which days clients bought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.errors import LakehouseError

Table: TypeAlias = pa.Table | pd.DataFrame
Ids: TypeAlias = NDArray[Any]
Days: TypeAlias = NDArray[np.datetime64]
Floats: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

RECENCY = "recency_days"
FEATURES = (
    "tenure_days",
    RECENCY,
    "order_count",
    "order_count_28d",
    "order_count_84d",
    "net_amount",
    "net_amount_28d",
    "net_amount_84d",
    "quantity_84d",
    "mean_gap_days",
    "gap_deviation_days",
    "mean_basket_amount_84d",
    "mean_basket_lines_84d",
    "product_count",
    "department_count_84d",
    "promo_share_84d",
)
SNAPSHOT_KEY = ("client_id", "feature_date")


@dataclass(frozen=True)
class Snapshots:
    """One row a client and day, in the order of day and client.

    Attributes:
        client, day: the key, shape (rows,).
        values: NaN where a feature is not defined, shape (rows, features).
        names: the features.
        left_out: columns of the table that are neither key nor feature.
    """

    client: Ids
    day: Days
    values: Floats
    names: tuple[str, ...]
    left_out: tuple[str, ...]

    def keep(self, rows: Mask) -> Snapshots:
        """Only these rows."""
        return Snapshots(
            self.client[rows], self.day[rows], self.values[rows], self.names, self.left_out
        )

    @property
    def recency(self) -> Floats:
        """Days since the last purchase, NaN for who never bought; shape (rows,)."""
        return np.asarray(self.values[:, self.names.index(RECENCY)])


@dataclass(frozen=True)
class Purchases:
    """Days on which clients bought, in no particular order; shape (purchases,)."""

    client: Ids
    day: Days

    def until(self, last: date) -> Purchases:
        """Those up to a day, itself included."""
        kept = self.day <= np.datetime64(last)
        return Purchases(self.client[kept], self.day[kept])


def read_snapshots(table: Table, features: Sequence[str] = FEATURES) -> Snapshots:
    """Take in snapshots.

    Null and NaN both say that a feature is not defined. Other columns are left out, and named.

    Args:
        table: columns client_id, feature_date and the features, which are numbers.
        features: those to use; `recency_days` must be among them.

    Raises:
        LakehouseError: a column is missing or no number, a key is null or stands there twice, a
            value is infinite, or a recency is negative (the snapshot knows what came after it).
    """
    arrow = _arrow(table)
    _require(arrow, (*SNAPSHOT_KEY, *features), "snapshots")
    client, day = _key(arrow, *SNAPSHOT_KEY, "snapshots")
    order = pc.sort_indices(
        pa.table({"day": day, "client": client}),
        sort_keys=[("day", "ascending"), ("client", "ascending")],
    )
    client, day = client.take(order), day.take(order)
    snapshots = Snapshots(
        client=client.to_numpy(zero_copy_only=False),
        day=day.to_numpy(zero_copy_only=False).astype("datetime64[D]"),
        values=np.column_stack([_numbers(arrow, name, order) for name in features]),
        names=tuple(features),
        left_out=tuple(
            name for name in arrow.column_names if name not in (*SNAPSHOT_KEY, *features)
        ),
    )
    _refuse_doubles(snapshots)
    if (snapshots.recency < 0).any():
        row = int(np.flatnonzero(snapshots.recency < 0)[0])
        raise LakehouseError(
            f"the snapshot of client {snapshots.client[row]} on {snapshots.day[row]} has a "
            f"recency of {snapshots.recency[row]:g} days: it knows purchases that came after it",
            "make each snapshot of what was known on its day alone",
        )
    return snapshots


def read_purchases(table: Table, snapshots: Snapshots) -> Purchases:
    """Take in the days of purchases; a day may stand there more than once.

    Raises:
        LakehouseError: a column is missing, a value is null, or no client of the snapshots is here.
    """
    arrow = _arrow(table)
    _require(arrow, ("client_id", "purchase_date"), "purchases")
    client, day = _key(arrow, "client_id", "purchase_date", "purchases")
    purchases = Purchases(
        client.to_numpy(zero_copy_only=False),
        day.to_numpy(zero_copy_only=False).astype("datetime64[D]"),
    )
    # Ids of another type would make all clients seem lost.
    known = set(snapshots.client.tolist())
    if not known.intersection(purchases.client.tolist()):
        raise LakehouseError(
            "no client of the snapshots is among the purchases",
            "give both tables the same client_id, of the same type",
        )
    return purchases


def _arrow(table: Table) -> pa.Table:
    if isinstance(table, pd.DataFrame):
        return pa.Table.from_pandas(table, preserve_index=False)
    return table


def _require(table: pa.Table, names: Sequence[str], what: str) -> None:
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise LakehouseError(
            f"the {what} have no column {', '.join(missing)}; "
            f"they have {', '.join(table.column_names)}",
            "give these columns, or name the features that there are in the configuration",
        )


def _key(table: pa.Table, client: str, day: str, what: str) -> tuple[pa.Array, pa.Array]:
    """Ids and days, without nulls."""
    for name in (client, day):
        if table[name].null_count:
            raise LakehouseError(
                f"{name} is null in {table[name].null_count:,} rows of the {what}",
                "leave these rows out, or give them their value",
            )
    try:
        days = table[day].cast(pa.date32(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise LakehouseError(f"{day} of the {what} is no date: {error}", "give dates") from error
    ids = table[client]
    if pa.types.is_integer(ids.type):
        ids = ids.cast(pa.int64())
    elif not pa.types.is_string(ids.type):
        ids = ids.cast(pa.string())
    return ids.combine_chunks(), days.combine_chunks()


def _numbers(table: pa.Table, name: str, order: pa.Array) -> Floats:
    """A column as floats, in the order of the key."""
    column = table[name]
    kind = column.type
    # A column without any value may come without a type.
    is_number = (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    )
    if not is_number:
        raise LakehouseError(
            f"the feature {name} is no number but {kind}",
            "encode it as a number, or leave it out of the features",
        )
    values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    values = np.asarray(values, dtype=np.float64)[order.to_numpy()]
    if np.isinf(values).any():
        raise LakehouseError(
            f"{name} is infinite in {int(np.isinf(values).sum()):,} snapshots",
            "give null where it is not defined",
        )
    return np.asarray(values)


def _refuse_doubles(snapshots: Snapshots) -> None:
    """The rows are sorted: doubles stand together."""
    same = (snapshots.client[1:] == snapshots.client[:-1]) & (
        snapshots.day[1:] == snapshots.day[:-1]
    )
    if same.any():
        row = int(np.flatnonzero(same)[0])
        raise LakehouseError(
            f"client {snapshots.client[row]} has more than one snapshot of {snapshots.day[row]} "
            f"({int(same.sum()):,} rows too many)",
            "give one row a client and day",
        )
