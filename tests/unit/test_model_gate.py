"""The promotion gate: noise promotes nobody, a failed check neither."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.ml.gate import judge
from pipelines.ml.trial import CHALLENGER, CHAMPION, Check, Part, Trial

UNITS = 300


def trial(
    *, champion: float | None = None, challenger: float = 1.0, baseline: float = 1.0,
    checks: tuple[Check, ...] = (), origins: int = 2,
) -> Trial:  # fmt: skip
    """Each unit has an error of its own, which all contenders share, times a factor, and noise."""
    random = np.random.default_rng(7)
    parts = []
    for origin in range(origins):
        own = random.gamma(2.0, 1.0, UNITS)
        factors = {CHALLENGER: challenger, "simple": baseline}
        if champion is not None:
            factors[CHAMPION] = champion
        losses = {
            name: own * factor * random.normal(1, 0.3, UNITS).clip(0.1)
            for name, factor in factors.items()
        }
        units = np.arange(UNITS).astype(object)
        parts.append(Part(f"2017-0{origin + 1}-01", units, losses, np.full(UNITS, 4.0), {}, "it"))
    return Trial("WAPE day", "product", parts, ("simple",), checks)


def test_one_that_is_clearly_better_is_promoted() -> None:
    verdict = judge(trial(champion=1.0, challenger=0.8))
    assert verdict.is_promoted
    assert {each.against for each in verdict.comparisons} == {CHAMPION, "simple"}
    for each in verdict.comparisons:
        assert each.low < each.gain < each.high
        assert 0.1 < each.gain < 0.3
    assert "better than all of champion, simple" in verdict.reason


def test_one_that_is_alike_but_for_noise_is_refused() -> None:
    verdict = judge(trial(champion=1.0, challenger=1.0, baseline=2.0))
    assert not verdict.is_promoted
    assert "not better than champion beyond noise" in verdict.reason
    (against,) = [each for each in verdict.comparisons if each.against == CHAMPION]
    assert against.low < 0 < against.high


def test_one_that_beats_the_champion_but_not_the_baseline_is_refused() -> None:
    verdict = judge(trial(champion=2.0, challenger=1.0, baseline=0.9))
    assert not verdict.is_promoted
    assert "not better than simple" in verdict.reason


def test_the_very_same_losses_are_no_gain() -> None:
    same = trial(challenger=0.5)
    for part in same.parts:
        dict.__setitem__(part.losses, CHAMPION, part.losses[CHALLENGER])  # type: ignore[arg-type]
    verdict = judge(same)
    assert not verdict.is_promoted
    assert "+0.0%" in verdict.reason


def test_a_failed_check_refuses_the_best() -> None:
    failed = Check("leakage", "no feature knows the future", False, "price does")
    verdict = judge(trial(challenger=0.1, checks=(failed,)))
    assert not verdict.is_promoted
    assert verdict.reason == "check failed: no feature knows the future: price does"


def test_units_are_drawn_whole() -> None:
    """Ten times the same origin is no more evidence than one: the interval does not shrink."""
    once, often = trial(challenger=0.97, origins=1), trial(challenger=0.97, origins=1)
    often = Trial(often.metric, often.unit, [often.parts[0]] * 10, often.baselines, ())
    (one,), (ten,) = judge(once).comparisons, judge(often).comparisons
    assert ten.high - ten.low == pytest.approx(one.high - one.low, rel=1e-6)
