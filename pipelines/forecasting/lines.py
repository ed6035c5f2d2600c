"""Makes a panel of sales lines, and says what it found in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import LakehouseError
from pipelines.forecasting.calendar import is_closed
from pipelines.forecasting.panel import Findings, Floats, Ints, Labels, Panel

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

REQUIRED = ("product_id", "date", "quantity")
MONEY = ("revenue", "discount")
ATTRIBUTES = ("department", "category", "brand")
_UNKNOWN = "(none)"
# Lines of sold days alone would tell by a plan's presence which days will sell.
_LEAST_PLANNED = 0.95


@dataclass(frozen=True)
class Span:
    """The days of a whole panel, for one of a part of its products.

    Attributes:
        start: the first day with a line.
        days: from there to the last day with a line.
        planned: from there to the last day of the plan, if that is later.
    """

    start: np.datetime64
    days: int
    planned: int


def panel_of(
    lines: pa.Table | pd.DataFrame | duckdb.DuckDBPyRelation,
    *,
    known_ahead: Sequence[str] | None = (),
    plan: pa.Table | pd.DataFrame | duckdb.DuckDBPyRelation | None = None,
    span: Span | None = None,
    closed: Sequence[str] = (),
) -> Panel:
    """Make a panel.

    Args:
        lines: one row a sale, or a product and day: `product_id`, `date` (date, timestamp or ISO
            text), `quantity`; optional `revenue`, `discount`, `department`, `category`, `brand`.
            Rows may lie in any order; those of one product and day are summed.
        known_ahead: numeric columns of the lines that are known before the day comes (a promotion,
            a price); the lines must then hold all days of a product, sold or not. None means all
            further numeric columns that have a value in each row, if the lines hold all days.
        plan: the same as a table of its own: `product_id`, `date` and numeric columns. What it
            does not tell is zero; it may reach beyond the last day of the lines.
        span: default that of the lines and the plan; where it is given, the lines are a part of
            the whole, and the plan may tell nothing of them.
        closed: days on which no shop opens: `12-25` of each year, `2018-01-02` of one.

    Raises:
        LakehouseError: a column is missing or of the wrong type; a product, date or quantity is
            null; a number is not finite; there are no lines; a plan lacks product-days.
    """
    table = _arrow(lines)
    _refuse_missing(table, (*REQUIRED, *(known_ahead or ())), "sales lines")
    if not table.num_rows:
        raise LakehouseError("there are no sales lines", "give lines of at least some weeks")
    products, rows = _codes(table, "product_id")
    days = _days(table, "sales lines")
    quantity = _numbers(table, "quantity")
    if span is None:
        start, size = int(days.min()), int(days.max() - days.min()) + 1
    else:
        start, size = int(span.start.astype("datetime64[D]").astype(np.int64)), span.days
    columns = days - start
    shape = (len(products), size)
    kept = quantity >= 0
    sold = _sums(rows[kept], columns[kept], quantity[kept], shape)
    seen = _sums(rows, columns, np.ones(len(rows)), shape)
    has_sold = (sold > 0).any(axis=1)
    begins = np.where(has_sold, (sold > 0).argmax(axis=1), (seen > 0).argmax(axis=1))
    money = {
        name: _sums(rows[kept], columns[kept], _numbers(table, name)[kept], shape)
        for name in MONEY
        if name in table.column_names
    }
    if known_ahead is None:
        holds_all_days = _share_of_days(seen, begins) >= _LEAST_PLANNED
        known_ahead = _whole_columns(table) if holds_all_days else ()
    planned = {name: _known(table, name, rows, columns, seen, begins) for name in known_ahead}
    if plan is not None:
        planned |= _plan(_arrow(plan), products, start, shape, span)
    told_closed = is_closed(np.datetime64(start, "D") + np.arange(size), closed)
    return Panel(
        products=products,
        start=np.datetime64(start, "D"),
        quantity=sold,
        first=begins.astype(np.int64),
        revenue=money.get("revenue"),
        discount=money.get("discount"),
        plan=planned,
        past={},
        attributes={
            name: _labels(table, name, rows, len(products))
            for name in ATTRIBUTES
            if name in table.column_names
        },
        findings=Findings(
            lines=len(rows),
            summed=int(np.maximum(seen - 1, 0).sum()),
            returns=int((~kept).sum()),
            gap_days=int((~seen.any(axis=0)).sum()),
            sold_though_closed=int((sold.any(axis=0) & told_closed).sum()),
            never_sold=int((~has_sold).sum()),
            sold_once=int(((sold > 0).sum(axis=1) == 1).sum()),
        ),
        closed=tuple(closed),
    )


def _arrow(lines: Any) -> pa.Table:
    if isinstance(lines, pa.Table):
        return lines
    if hasattr(lines, "to_arrow_table"):
        return lines.to_arrow_table()
    return pa.Table.from_pandas(lines, preserve_index=False)


def _refuse_missing(table: pa.Table, names: Sequence[str], what: str) -> None:
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise LakehouseError(
            f"the {what} lack the column {', '.join(missing)}; "
            f"they have {', '.join(table.column_names)}",
            f"rename or add it; needed are {', '.join(names)}",
        )


def _refuse_null(table: pa.Table, name: str) -> None:
    if nulls := table[name].null_count:
        raise LakehouseError(
            f"{nulls:,} rows have no {name}", f"leave them out, or fill in the {name}"
        )


def _codes(table: pa.Table, name: str) -> tuple[Labels, Ints]:
    """The sorted distinct values of a column, and each row's place among them."""
    _refuse_null(table, name)
    encoded = pc.dictionary_encode(table[name].combine_chunks())
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    values = np.array(encoded.dictionary.to_pylist(), dtype=object)
    order = np.argsort(values, kind="stable")
    place = np.empty(len(values), np.int64)
    place[order] = np.arange(len(values))
    return values[order], place[encoded.indices.to_numpy(zero_copy_only=False)]


def _days(table: pa.Table, what: str) -> Ints:
    """Days since 1970-01-01."""
    _refuse_null(table, "date")
    column = table["date"]
    try:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = pc.cast(column, pa.timestamp("us"))
        dates = pc.cast(pc.floor_temporal(column, unit="day"), pa.date32())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise LakehouseError(
            f"the column date of the {what} holds no dates: {error}",
            "write dates as YYYY-MM-DD",
        ) from None
    return np.asarray(pc.cast(dates, pa.int32()).to_numpy(), dtype=np.int64)


def _numbers(table: pa.Table, name: str) -> Floats:
    _refuse_null(table, name)
    try:
        values = np.asarray(pc.cast(table[name], pa.float64(), safe=False).to_numpy(), np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise LakehouseError(
            f"the column {name} is of type {table[name].type}, and holds no numbers",
            f"give {name} as numbers",
        ) from None
    if odd := int((~np.isfinite(values)).sum()):
        raise LakehouseError(
            f"{odd:,} rows have a {name} that is not finite (NaN or infinite)",
            f"leave them out, or correct the {name}",
        )
    return values


def _sums(rows: Ints, columns: Ints, values: Floats, shape: tuple[int, int]) -> Floats:
    flat = np.bincount(rows * shape[1] + columns, weights=values, minlength=shape[0] * shape[1])
    return flat.astype(np.float64).reshape(shape)


def _labels(table: pa.Table, name: str, rows: Ints, count: int) -> Labels:
    """One label a product: that of its last row in the table."""
    named = pc.fill_null(pc.cast(table[name], pa.string()), _UNKNOWN).combine_chunks()
    encoded = pc.dictionary_encode(named)
    which = np.zeros(count, np.int64)
    which[rows] = encoded.indices.to_numpy(zero_copy_only=False)
    return np.array(encoded.dictionary.to_pylist(), dtype=object)[which]


def _known(
    table: pa.Table, name: str, rows: Ints, columns: Ints, seen: Floats, begins: Ints
) -> Floats:
    """A column of the lines that is known ahead, as the mean of a product and day.

    The few days without a row have the value of the day before.
    """
    planned = _share_of_days(seen, begins)
    if planned < _LEAST_PLANNED:
        raise LakehouseError(
            f"the sales lines hold {planned:.0%} of the product-days: where only days with sales "
            f"have a row, {name} would tell ahead which days will sell",
            f"add the rows without sales (quantity 0), or leave {name} out",
        )
    values = _sums(rows, columns, _numbers(table, name), seen.shape) / np.maximum(seen, 1)
    last_row = np.maximum.accumulate(np.where(seen > 0, np.arange(seen.shape[1]), 0), axis=1)
    return np.asarray(np.take_along_axis(values, last_row, axis=1))


def _share_of_days(seen: Floats, begins: Ints) -> float:
    """How many of their days products have a row of, sold or not."""
    has_row = seen > 0
    # On days without any row the shop was closed: that tells nothing of a product.
    within = (np.arange(seen.shape[1]) >= begins[:, None]) & has_row.any(axis=0)
    return float(has_row[within].mean())


def _whole_columns(table: pa.Table) -> list[str]:
    return [name for name in unused_columns(table, ()) if _is_whole(table[name])]


def _is_whole(column: pa.ChunkedArray) -> bool:
    kind = column.type
    if not (pa.types.is_boolean(kind) or pa.types.is_decimal(kind) or _is_number(kind)):
        return False
    values = pc.cast(column, pa.float64(), safe=False)
    return column.null_count == 0 and bool(pc.all(pc.is_finite(values)).as_py())


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _plan(
    table: pa.Table, products: Labels, start: int, shape: tuple[int, int], span: Span | None
) -> dict[str, Floats]:
    """Each numeric column of a plan, from the panel's first day to the plan's last."""
    _refuse_missing(table, ("product_id", "date"), "plan")
    names = [name for name in table.column_names if name not in ("product_id", "date")]
    ids, codes = _codes(table, "product_id")
    columns = _days(table, "plan") - start
    place = {product: row for row, product in enumerate(products)}
    rows = np.array([place.get(product, -1) for product in ids], dtype=np.int64)[codes]
    kept = (rows >= 0) & (columns >= 0)
    if span is None and not kept.any():
        raise unrelated_plan()
    rows, columns = rows[kept], columns[kept]
    until = int(columns.max(initial=0)) + 1 if span is None else span.planned
    wide = (shape[0], max(shape[1], until))
    count = np.maximum(_sums(rows, columns, np.ones(len(rows)), wide), 1)
    return {name: _sums(rows, columns, _numbers(table, name)[kept], wide) / count for name in names}


def unrelated_plan() -> LakehouseError:
    """What is wrong with a plan that tells of none of the products."""
    return LakehouseError(
        "no row of the plan tells of a product and day of the sales lines",
        "give both the same ids of the same type, and the plan the days of the lines",
    )


def unused_columns(lines: pa.Table, known_ahead: Iterable[str]) -> list[str]:
    """Columns of the lines of which a panel knows nothing."""
    used = {*REQUIRED, *MONEY, *ATTRIBUTES, *known_ahead}
    return [name for name in lines.column_names if name not in used]
