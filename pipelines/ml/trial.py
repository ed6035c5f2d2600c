"""A trial: what a challenger, the champion and the baselines lost on the same days and units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.forecasting.panel import Floats, Labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHALLENGER, CHAMPION = "challenger", "champion"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at beside the contest.

    Attributes:
        subject: data, leakage, drift or performance.
        told: what was found, in a sentence.
    """

    subject: str
    name: str
    passed: bool
    told: str


@dataclass(frozen=True)
class Plot:
    """A picture of a trial, drawn only where it is kept.

    Attributes:
        name: of its file, without the ending.
    """

    name: str
    draw: Callable[[Axes], None]


@dataclass(frozen=True)
class Part:
    """What came of one origin.

    Attributes:
        units: id of the unit of each row, shape (rows,).
        losses: by contender, likewise; lower is better.
        sizes: what losses are divided by in sum, likewise: pieces sold, or ones.
        metrics: further figures of the challenger.
        used: what the challenger made its predictions of, and why.
    """

    origin: str
    units: Labels
    losses: Mapping[str, Floats]
    sizes: Floats
    metrics: Mapping[str, float]
    used: str

    def value(self, contender: str) -> float:
        """The sum of the losses over the sum of the sizes; NaN where that is zero."""
        size = self.sizes.sum()
        return float(self.losses[contender].sum() / size) if size else float("nan")


@dataclass(frozen=True)
class Trial:
    """All origins of a contest.

    Attributes:
        metric: name of the quotient of losses and sizes: "WAPE day".
        unit: what a row is of: product or client. The bootstrap draws units.
        baselines: the contenders that every model must beat.
    """

    metric: str
    unit: str
    parts: Sequence[Part]
    baselines: Sequence[str]
    checks: Sequence[Check]
    plots: Sequence[Plot] = ()

    @property
    def contenders(self) -> list[str]:
        """Those that took part at every origin."""
        return [
            name
            for name in (CHALLENGER, CHAMPION, *self.baselines)
            if all(name in part.losses for part in self.parts)
        ]

    def value(self, contender: str) -> float:
        """The metric over all origins, pooled."""
        size = sum(part.sizes.sum() for part in self.parts)
        lost = sum(part.losses[contender].sum() for part in self.parts)
        return float(lost / size) if size else float("nan")

    def by_unit(self, *contenders: str) -> list[Floats]:
        """The losses of each unit over all origins, for each of the contenders."""
        ids = np.concatenate([part.units.astype(str) for part in self.parts])
        place = np.unique(ids, return_inverse=True)[1]
        return [
            np.bincount(place, np.concatenate([part.losses[name] for part in self.parts])).astype(
                np.float64
            )
            for name in contenders
        ]
