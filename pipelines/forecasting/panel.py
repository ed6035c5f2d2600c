"""The panel: what each product sold on each day, and what was known of each day beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Labels: TypeAlias = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Findings:
    """What was found in the lines that a panel was made of.

    Attributes:
        lines: lines read.
        summed: lines that were added to another one of the same product and day.
        returns: lines with a negative quantity; left out, for a return is no demand of its day.
        gap_days: days within the panel on which no product at all has a line.
        sold_though_closed: days that were told to be closed, but have sales.
        never_sold: products with lines, but without a single piece sold; they are forecast as zero.
        sold_once: products that sold on one day alone.
    """

    lines: int = 0
    summed: int = 0
    returns: int = 0
    gap_days: int = 0
    sold_though_closed: int = 0
    never_sold: int = 0
    sold_once: int = 0

    def sentences(self) -> list[str]:
        """What a person should know, in a sentence each; what did not occur is left out."""
        told = {
            "lines share product and day with another: they are summed": self.summed,
            "lines are returns (negative quantity): they are left out": self.returns,
            "days have no line of any product: they count as days without sales": self.gap_days,
            "days told to be closed have sales: these have been open": self.sold_though_closed,
            "products never sold: their forecast is zero": self.never_sold,
            "products sold on one day alone": self.sold_once,
        }
        return [f"{count:,} {text}" for text, count in told.items() if count]


@dataclass(frozen=True)
class Panel:
    """A dense table of products and days: a day without a sale is a zero.

    Attributes:
        products: ids, sorted, shape (products,).
        start: the first day.
        quantity: pieces sold, shape (products, days); zero before the first day of a product.
        first: index of the day on which each product first sold, shape (products,).
        revenue: what was paid, in the currency of the lines, shape (products, days), or None.
        discount: what was taken off the price, likewise.
        plan: covariates known ahead by name, shape (products, days + days known ahead).
        past: covariates known only when the day is over, shape (products, days).
        attributes: static labels by name (department, category, brand), shape (products,).
        closed: days on which no shop opens, see `pipelines.forecasting.calendar.is_closed`.
        findings: what was found in the lines.
    """

    products: Labels
    start: np.datetime64
    quantity: Floats
    first: Ints
    revenue: Floats | None
    discount: Floats | None
    plan: Mapping[str, Floats]
    past: Mapping[str, Floats]
    attributes: Mapping[str, Labels]
    findings: Findings
    closed: tuple[str, ...] = ()

    @property
    def days(self) -> int:
        """Days with sales known."""
        return int(self.quantity.shape[1])

    @property
    def last(self) -> np.datetime64:
        """The last day with sales known: the origin of a forecast from this panel."""
        return self.day(self.days - 1)

    def day(self, index: int) -> np.datetime64:
        """The date of a day."""
        return self.start + np.timedelta64(index, "D")

    def index(self, day: np.datetime64) -> int:
        """The index of a date, which may lie outside the panel."""
        return int(np.diff(np.array([self.start, day], "datetime64[D]").astype(np.int64))[0])

    def until(self, origin: int, *, ahead: int) -> Panel:
        """What was known at the end of day `origin`.

        Sales up to the origin, the plan for `ahead` days more, and the products that had sold by
        then.
        """
        days = origin + 1
        cut = replace(
            self,
            quantity=self.quantity[:, :days],
            revenue=None if self.revenue is None else self.revenue[:, :days],
            discount=None if self.discount is None else self.discount[:, :days],
            plan={name: values[:, : days + ahead] for name, values in self.plan.items()},
            past={name: values[:, :days] for name, values in self.past.items()},
        )
        return cut.select(np.flatnonzero(self.first <= origin))

    @property
    def worth(self) -> Floats:
        """What products are compared by, shape (products,): revenue if it is known, else pieces."""
        return np.asarray((self.quantity if self.revenue is None else self.revenue).sum(axis=1))

    def best(self, count: int) -> Ints:
        """Rows of the products that sold most: by revenue where it is known, else by pieces."""
        return best(self.worth, count)

    def select(self, rows: Ints) -> Panel:
        """Some of the products."""
        return replace(
            self,
            products=self.products[rows],
            quantity=self.quantity[rows],
            first=self.first[rows],
            revenue=None if self.revenue is None else self.revenue[rows],
            discount=None if self.discount is None else self.discount[rows],
            plan={name: values[rows] for name, values in self.plan.items()},
            past={name: values[rows] for name, values in self.past.items()},
            attributes={name: labels[rows] for name, labels in self.attributes.items()},
        )

    def without_plan(self) -> Panel:
        """The same panel, with nothing known ahead but the calendar; what was planned is past."""
        over = {name: values[:, : self.days] for name, values in self.plan.items()}
        return replace(self, plan={}, past={**self.past, **over})


def best(worth: Floats, count: int) -> Ints:
    """Places of the highest, in order; of equals the first."""
    return np.sort(np.argsort(-worth, kind="stable")[:count])
