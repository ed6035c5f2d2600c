"""What a product's features need to know of all others: sums and peaks, to be told to parts.

Sums of parts add up to those of the whole, exactly where pieces are whole numbers, and the highest
of their peaks is that of the whole. So a panel may be cut by products, each part predicted by
itself, and the result is that of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pipelines.forecasting.hierarchy import sums_by
from pipelines.forecasting.panel import Floats, Ints, Labels, Panel


@dataclass(frozen=True)
class Group:
    """Sums by the labels of one attribute.

    Attributes:
        labels: sorted, shape (labels,).
        products: how many have each label, shape (labels,).
        quantity: pieces, shape (labels, days).
        plan: by covariate, shape (labels, days + days known ahead).
    """

    labels: Labels
    products: Floats
    quantity: Floats
    plan: Mapping[str, Floats]

    def codes(self, labels: Labels) -> Ints:
        """Place of each label, all of which must be known here."""
        return np.searchsorted(self.labels.astype(str), labels.astype(str)).astype(np.int64)

    def plan_mean(self, name: str) -> Floats:
        """Mean of a covariate over the products of each label, shape as of `plan`."""
        return np.asarray(self.plan[name] / self.products[:, None])

    def __add__(self, other: Group) -> Group:
        labels = np.union1d(self.labels.astype(str), other.labels.astype(str)).astype(object)
        both = (self, other)
        places = [np.searchsorted(labels.astype(str), each.labels.astype(str)) for each in both]

        def added(one: Floats, two: Floats) -> Floats:
            found = np.zeros((len(labels), *one.shape[1:]))
            found[places[0]] += one
            found[places[1]] += two
            return found

        return Group(
            labels,
            added(self.products, other.products),
            added(self.quantity, other.quantity),
            {name: added(values, other.plan[name]) for name, values in self.plan.items()},
        )


@dataclass(frozen=True)
class Totals:
    """Sums over the products of a panel.

    Attributes:
        quantity: pieces of all products, shape (days,).
        groups: by attribute.
        plan_peaks: by covariate, its greatest value of all products, shape (days + days known
            ahead,).
    """

    quantity: Floats
    groups: Mapping[str, Group]
    plan_peaks: Mapping[str, Floats]

    @classmethod
    def of(cls, panel: Panel) -> Totals:
        """The sums of a panel."""
        return cls(
            panel.quantity.sum(axis=0),
            {name: _group(panel, labels) for name, labels in panel.attributes.items()},
            {name: values.max(axis=0) for name, values in panel.plan.items()},
        )

    @cached_property
    def sums(self) -> Floats:
        """Pieces of all products up to each day, from 0 on, shape (1, days + 1)."""
        return np.concatenate([[0.0], self.quantity.cumsum()])[None, :]

    def __add__(self, other: Totals) -> Totals:
        return replace(
            self,
            quantity=self.quantity + other.quantity,
            groups={name: group + other.groups[name] for name, group in self.groups.items()},
            plan_peaks={
                name: np.maximum(peaks, other.plan_peaks[name])
                for name, peaks in self.plan_peaks.items()
            },
        )


def _group(panel: Panel, labels: Labels) -> Group:
    names, quantity = sums_by(panel.quantity, labels)
    codes = np.searchsorted(names.astype(str), labels.astype(str))
    return Group(
        names,
        np.bincount(codes, minlength=len(names)).astype(np.float64),
        quantity,
        {name: sums_by(values, labels)[1] for name, values in panel.plan.items()},
    )
