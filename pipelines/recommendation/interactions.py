"""Who bought what when: the one form of purchases that all of the recommender reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.errors import LakehouseError

REQUIRED = ("client_id", "product_id", "at")
OPTIONAL = ("basket_id", "quantity")

Table: TypeAlias = pa.Table | pd.DataFrame | duckdb.DuckDBPyRelation
Ids: TypeAlias = NDArray[Any]
Codes: TypeAlias = NDArray[np.int64]
Days: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

_DAY = pd.Timedelta(days=1)


@dataclass(frozen=True)
class Interactions:
    """Purchases, one row per client, product and basket, in the order of time.

    Attributes:
        clients: ids, sorted; `client` holds positions in it.
        products: ids, sorted; `product` holds positions in it. Some may never have been bought.
        client, product, basket: codes, one a row; a basket belongs to one client.
        day: time of the row, in days (with fraction) since 1970-01-01 UTC.
        as_of: per client the day on which recommendations are made; nothing later is in here.
        left_out: what was not taken in, counted by reason.
    """

    clients: Ids
    products: Ids
    client: Codes
    product: Codes
    basket: Codes
    day: Days
    as_of: Days
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def today(self) -> float:
        """The latest day on which a recommendation is made."""
        return float(self.as_of.max())

    def keep(self, rows: Mask, as_of: Days | float | None = None) -> Interactions:
        """Only these rows, and no client or product that is not in them.

        Args:
            rows: which of the rows, shape (rows,).
            as_of: day of recommending: one for all, or one per client of `self`.

        Raises:
            LakehouseError: no row is left.
        """
        if not rows.any():
            raise LakehouseError(
                "no purchases are left before the cut", "give a longer history or a shorter window"
            )
        clients, client = np.unique(self.client[rows], return_inverse=True)
        products, product = np.unique(self.product[rows], return_inverse=True)
        days = np.broadcast_to(self.as_of if as_of is None else as_of, self.clients.shape)
        return replace(
            self,
            clients=self.clients[clients],
            products=self.products[products],
            client=client,
            product=product,
            basket=self.basket[rows],
            day=self.day[rows],
            as_of=days[clients].astype(np.float64),
        )

    def with_products(self, ids: Iterable[Any]) -> Interactions:
        """The same purchases in a catalogue that also lists these products."""
        products = np.union1d(self.products, same_type(ids, self.products, "product"))
        moved = np.searchsorted(products, self.products)
        return replace(self, products=products, product=moved[self.product])


def read_interactions(table: Table, *, as_of: pd.Timestamp | None = None) -> Interactions:
    """Take in purchases.

    The order of rows does not matter. Rows with a quantity of zero or less are returns: left out
    and counted, as is a second row of a product in the same basket. Without `basket_id` a basket
    is what a client bought on one day (UTC).

    Args:
        table: columns client_id, product_id, at; optional basket_id, quantity; others are ignored.
        as_of: moment of recommending (UTC); default: that of the last purchase.

    Raises:
        LakehouseError: a column is missing or unreadable, an id or a time is null, no purchase is
            left, or all are of one client.
    """
    frame = _frame(table)
    day = _days(frame["at"])
    left_out: dict[str, int] = {}
    wanted = np.ones(len(frame), dtype=bool)
    if "quantity" in frame:
        quantity = _numbers(frame["quantity"])
        left_out |= {
            "no quantity": int(np.isnan(quantity).sum()),
            "returns": int((quantity <= 0).sum()),
        }
        wanted &= quantity > 0
    if as_of is not None:
        moment = _days(pd.Series([as_of]))[0]
        left_out["later"] = int((wanted & (day > moment)).sum())
        wanted &= day <= moment
    if not wanted.any():
        raise LakehouseError("there are no purchases", "give rows with a quantity above zero")
    frame, day = frame[wanted], day[wanted]
    client, clients = _codes(frame["client_id"])
    if len(clients) < 2:
        raise LakehouseError(
            f"all purchases are of one client, {clients[0]}",
            "give purchases of more clients: there is nobody to learn from",
        )
    product, products = _codes(frame["product_id"])
    basket = _baskets(frame, client, day)
    order = np.lexsort((product, basket, client, day))
    rows = pd.DataFrame({"client": client, "basket": basket, "product": product}).iloc[order]
    first = ~rows.duplicated().to_numpy()
    left_out["repeated in a basket"] = int((~first).sum())
    order = order[first]
    today = float(day.max()) if as_of is None else moment
    return Interactions(
        clients, products, client[order], product[order], basket[order], day[order],
        np.full(len(clients), today), {why: n for why, n in left_out.items() if n},
    )  # fmt: skip


def same_type(ids: Iterable[Any], known: Ids, what: str) -> Ids:
    """The ids as an array.

    Raises:
        LakehouseError: their type is not that of the known ones: none would ever be found.
    """
    found = pd.Index(list(ids))
    expected = type(known.tolist()[0])
    other = next((each for each in found.tolist() if type(each) is not expected), None)
    if other is not None:
        raise LakehouseError(
            f"{what} {other!r} is not of the type of the ids in the purchases, {expected.__name__}",
            "give ids as they stand in the purchases",
        )
    array: Ids = found.to_numpy().astype(known.dtype)
    return array


def _frame(table: Table) -> pd.DataFrame:
    names = table.columns if not isinstance(table, pa.Table) else table.column_names
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise LakehouseError(
            f"column {missing[0]} is missing; there are: {', '.join(map(str, names))}",
            f"name the columns {', '.join(REQUIRED)}, and optionally {', '.join(OPTIONAL)}",
        )
    columns = [name for name in (*REQUIRED, *OPTIONAL) if name in names]
    if isinstance(table, pa.Table):
        frame: pd.DataFrame = table.select(columns).to_pandas()
    elif isinstance(table, pd.DataFrame):
        frame = table[columns]
    else:
        frame = table.select(*columns).to_df()
    for name in REQUIRED:
        nulls = int(frame[name].isna().sum())
        if nulls:
            raise LakehouseError(
                f"column {name} is null in {nulls:,} of {len(frame):,} rows",
                "fill it or leave those rows out",
            )
    return frame


def _days(at: pd.Series[Any]) -> Days:
    """Days since 1970-01-01 UTC; numbers are refused, for their unit is not known."""
    remedy = "give `at` as a timestamp or date, or as text like 2024-05-31 17:04:00 (UTC)"
    if pd.api.types.is_numeric_dtype(at):
        raise LakehouseError("column at holds numbers, not times", remedy)
    try:
        moments = pd.to_datetime(at, utc=True, format="ISO8601")
    except (ValueError, TypeError, OverflowError) as error:
        raise LakehouseError(f"column at holds what is not a time: {error}", remedy) from None
    return np.asarray((moments - pd.Timestamp(0, tz="UTC")) / _DAY, dtype=np.float64)


def _numbers(quantity: pd.Series[Any]) -> Days:
    try:
        return pd.to_numeric(quantity).to_numpy(np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise LakehouseError(
            f"column quantity holds what is not a number: {error}", "give pieces, as a number"
        ) from None


def _codes(ids: pd.Series[Any]) -> tuple[Codes, Ids]:
    if isinstance(ids.dtype, pd.CategoricalDtype):
        # Else they would be in the order of the categories.
        ids = ids.astype(ids.cat.categories.dtype)
    codes, values = pd.factorize(ids, sort=True)
    if len({type(value) for value in values}) > 1:
        raise LakehouseError(
            f"column {ids.name} mixes text and numbers", "give all its ids one type"
        )
    return codes.astype(np.int64), np.asarray(values)


def _baskets(frame: pd.DataFrame, client: Codes, day: Days) -> Codes:
    """Baskets numbered so that those of a client follow each other in time."""
    visit = np.floor(day).astype(np.int64).astype(str)
    if "basket_id" in frame:
        given = frame["basket_id"]
        visit = np.where(given.isna(), visit, "#" + given.astype(str))
    keys = pd.DataFrame({"client": client, "visit": visit})
    began = pd.Series(day).groupby([keys["client"], keys["visit"]]).min().rename("began")
    ordered = began.reset_index().sort_values(["client", "began", "visit"], ignore_index=True)
    numbers = pd.Series(ordered.index, index=pd.MultiIndex.from_frame(ordered[["client", "visit"]]))
    return numbers.reindex(pd.MultiIndex.from_frame(keys)).to_numpy(np.int64)
