"""The promotion gate: a challenger becomes champion only if it is better beyond noise.

Source: paired bootstrap test, Efron and Tibshirani 1993, chapter 16; units are drawn with all their
origins, for the errors of one product or client are not independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.ml.trial import CHALLENGER, Check, Trial

_DRAWS = 2000
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Comparison:
    """The challenger against one other contender.

    Attributes:
        other, own: the metric of both, over all origins.
        gain: by how much the challenger's loss is lower, as a share of the other's.
        low, high: its 95 % interval.
    """

    against: str
    other: float
    own: float
    gain: float
    low: float
    high: float

    @property
    def is_beyond_noise(self) -> bool:
        return self.low > 0


@dataclass(frozen=True)
class Verdict:
    """What the gate found.

    Attributes:
        reason: in a sentence, why it is promoted or refused.
    """

    is_promoted: bool
    reason: str
    metric: str
    comparisons: tuple[Comparison, ...]
    checks: tuple[Check, ...]


def judge(trial: Trial, *, seed: int = 0) -> Verdict:
    """Compare the challenger with the champion, if it took part, and with every baseline."""
    others = [name for name in trial.contenders if name != CHALLENGER]
    comparisons = tuple(_compare(trial, other, seed) for other in others)
    lost = [each for each in comparisons if not each.is_beyond_noise]
    failed = [check for check in trial.checks if not check.passed]
    return Verdict(
        is_promoted=not lost and not failed,
        reason=_reason(trial, comparisons, lost, failed),
        metric=trial.metric,
        comparisons=comparisons,
        checks=tuple(trial.checks),
    )


def _compare(trial: Trial, other: str, seed: int) -> Comparison:
    own, its = trial.by_unit(CHALLENGER, other)
    count = len(own)
    random = np.random.default_rng(seed)
    gains = np.empty(_DRAWS)
    for draw in range(_DRAWS):
        drawn = np.bincount(random.integers(0, count, count), minlength=count)
        lost = its @ drawn
        gains[draw] = 1 - (own @ drawn) / lost if lost > 0 else 0.0
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(gains, (tail, 1 - tail))
    total = its.sum()
    return Comparison(
        against=other,
        other=trial.value(other),
        own=trial.value(CHALLENGER),
        gain=float(1 - own.sum() / total) if total > 0 else 0.0,
        low=float(low),
        high=float(high),
    )


def _reason(
    trial: Trial,
    comparisons: tuple[Comparison, ...],
    lost: list[Comparison],
    failed: list[Check],
) -> str:
    if failed:
        return f"check failed: {failed[0].name}: {failed[0].told}"
    if lost:
        worst = min(lost, key=lambda each: each.gain)
        return (
            f"not better than {worst.against} beyond noise: {trial.metric} {worst.own:.4f} against "
            f"{worst.other:.4f}, {worst.gain:+.1%} ({worst.low:+.1%} to {worst.high:+.1%})"
        )
    closest = min(comparisons, key=lambda each: each.gain)
    return (
        f"better than {'all of ' if len(comparisons) > 1 else ''}"
        f"{', '.join(each.against for each in comparisons)}: the closest, {closest.against}, by "
        f"{closest.gain:.1%} ({closest.low:.1%} to {closest.high:.1%})"
    )
