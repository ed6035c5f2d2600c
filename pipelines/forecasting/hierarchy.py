"""Sums of a forecast over the hierarchy: product → department → all, each the sum of those below.

Only the mean may be summed; quantiles of sums are not sums of quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.forecasting.panel import Floats, Labels


@dataclass(frozen=True)
class Sums:
    """A forecast at each level of the hierarchy.

    Attributes:
        product: shape (products, days).
        groups: names of the groups (departments), sorted, shape (groups,).
        group: shape (groups, days).
        total: shape (days,).
    """

    product: Floats
    groups: Labels
    group: Floats
    total: Floats


def bottom_up(forecast: Floats, labels: Labels) -> Sums:
    """Sum a forecast of products by their labels, and those sums to the whole.

    Args:
        forecast: pieces, shape (products, days).
        labels: the group of each product, shape (products,).
    """
    groups, group = sums_by(forecast, labels)
    return Sums(product=forecast, groups=groups, group=group, total=group.sum(axis=0))


def sums_by(values: Floats, labels: Labels) -> tuple[Labels, Floats]:
    """Sorted distinct labels, and the sums of their rows: shape (labels,) and (labels, days)."""
    groups, codes = np.unique(labels.astype(str), return_inverse=True)
    sums = np.zeros((len(groups), values.shape[1]))
    np.add.at(sums, codes, values)
    return groups.astype(object), sums
