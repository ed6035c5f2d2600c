"""What the model sees of a product at an origin day, for each day of the horizon.

Everything comes from days up to and including the origin, from the calendar and from the plan.
Prices and discounts stay as they were at the origin unless the plan tells them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pipelines.forecasting.baselines import LEVEL_DAYS, level, weekday_profile
from pipelines.forecasting.calendar import calendar
from pipelines.forecasting.panel import Floats, Ints, Labels, Panel
from pipelines.forecasting.totals import Totals

Matrix: TypeAlias = npt.NDArray[np.float32]
_LEVELS = (3, 7, 14, 28, 56, 112, 364)
_PRICE_DAYS = (7, 28, 112)
_DECAYS = (20.0, 60.0)
_PROFILE_DAYS = 84
_LIFT_DAYS = 112
# Whole weeks, so that weekdays agree; longer than any horizon.
_YEAR_DAYS = 364
# So many days at the usual level stand beside what a lift was seen on.
_PRIOR_DAYS = 7.0
# A plan is on where it is above such a part of its greatest value.
_ON = 0.1
_LONG_DAYS = 112
# Pieces a day added to both sides of a ratio of levels, lest a single sale be a manifold.
_PRIOR_PIECES = 0.05
_PRIOR_WEEKDAY_PIECES = 0.1
_LEAST = 0.01


@dataclass(frozen=True)
class Rows:
    """Rows of products and days ahead, of one or more origins, to learn from or to predict.

    Attributes:
        names: of the features.
        values: shape (rows, features).
        level: the weekday average as of the origin, which the model corrects.
        target: index of the day that is forecast.
        product: row of the panel.
    """

    names: list[str]
    values: Matrix
    level: Floats
    target: Ints
    product: Ints


class Features:
    """Features of a panel; sums over time are made once for all origins.

    Args:
        labels: by attribute, the labels that a model knows, sorted: a label is told by its place
            among them, any other is not known. Default those of the panel.
        totals: of all products, where the panel holds a part of them.
    """

    def __init__(
        self,
        panel: Panel,
        horizon: int,
        labels: Mapping[str, Labels] | None = None,
        totals: Totals | None = None,
    ) -> None:
        self._panel = panel
        self._horizon = horizon
        self._totals = totals or Totals.of(panel)
        dates = panel.start + np.arange(panel.days + horizon)
        self._calendar = calendar(dates)
        self._weekday = self._calendar["weekday"].astype(np.int64)
        self._sums = _cumulative(panel.quantity)
        self._money = {
            name: _cumulative(values)
            for name, values in (("revenue", panel.revenue), ("discount", panel.discount))
            if values is not None
        }
        self._groups = {
            name: self._totals.groups[name].codes(labels)
            for name, labels in panel.attributes.items()
        }
        self._places = {
            name: _places(values.astype(str), labels[name] if labels else None)
            for name, values in panel.attributes.items()
            if labels is None or name in labels
        }
        self._group_quantity = {name: self._totals.groups[name].quantity for name in self._groups}
        self._group_sums = {
            name: _cumulative(values) for name, values in self._group_quantity.items()
        }
        self._covariates = {**panel.past, **panel.plan}
        self._covariate_sums = {
            name: _cumulative(values) for name, values in self._covariates.items()
        }
        self._group_plan = {
            (group, name): self._totals.groups[group].plan_mean(name)[codes]
            for group, codes in self._groups.items()
            for name in panel.plan
        }

    def at(self, origin: int) -> Rows:
        """Features as of the end of day `origin`, for all products and the whole horizon."""
        of_product = (
            self._levels(origin)
            | self._pattern(origin)
            | self._prices(origin)
            | self._group_levels(origin)
            | self._covariate_history(origin)
        )
        of_day = self._days(origin)
        of_both = self._profiles(origin) | self._plan_ahead(origin, of_product)
        count, horizon = len(self._panel.products), self._horizon
        names = [*of_product, *of_day, *of_both]
        values = np.empty((count, horizon, len(names)), np.float32)
        for place, name in enumerate(names):
            if name in of_product:
                values[:, :, place] = of_product[name][:, None]
            else:
                values[:, :, place] = of_day[name] if name in of_day else of_both[name]
        return Rows(
            names=names,
            values=values.reshape(count * horizon, len(names)),
            level=of_both["usual"].ravel(),
            target=np.tile(origin + 1 + np.arange(horizon), count),
            product=np.repeat(np.arange(count), horizon),
        )

    def _levels(self, origin: int) -> dict[str, Floats]:
        """Means of the last days, plain, fading, and against the level that the model corrects.

        Ratios let products of all sizes teach each other: a tree can only split one by one what
        two levels say together.
        """
        panel = self._panel
        found = {
            f"mean_{days}": level(panel.quantity, panel.first, origin, days) for days in _LEVELS
        }
        ages = np.arange(origin, -1, -1)
        for decay in _DECAYS:
            weights = np.exp(-ages / decay)
            fading = panel.quantity[:, : origin + 1] @ weights / weights.sum()
            found[f"fading_{decay:.0f}"] = fading
        usual = found[f"mean_{LEVEL_DAYS}"]
        return found | {
            f"mean_{days}_to_usual": _log_ratio(found[f"mean_{days}"], usual)
            for days in _LEVELS
            if days != LEVEL_DAYS
        }

    def _pattern(self, origin: int) -> dict[str, Floats]:
        """How a product sells: how often, how much at once, how unsteadily, since when."""
        known = self._panel.quantity[:, : origin + 1]
        recent = known[:, -LEVEL_DAYS:]
        sold = recent > 0
        last_sold = np.where(known > 0, np.arange(origin + 1), -1).max(axis=1)
        return {
            "deviation_28": known[:, -28:].std(axis=1),
            "deviation_56": recent.std(axis=1),
            "most_28": known[:, -28:].max(axis=1),
            "share_of_days_sold": sold.mean(axis=1),
            "pieces_a_day_sold": recent.sum(axis=1) / np.maximum(sold.sum(axis=1), 1),
            "days_since_sold": (origin - last_sold).astype(float),
            "age": (origin - self._panel.first).astype(float),
        }

    def _prices(self, origin: int) -> dict[str, Floats]:
        """Price a piece and discount rate of the last days; NaN where nothing sold in them."""
        found: dict[str, Floats] = {}
        if "revenue" not in self._money:
            return found
        price = {}
        for days in _PRICE_DAYS:
            pieces = _window(self._sums, origin, days)
            paid = _window(self._money["revenue"], origin, days)
            price[days] = _ratio(paid, pieces)
            if "discount" in self._money:
                off = _window(self._money["discount"], origin, days)
                found[f"discount_rate_{days}"] = off / np.maximum(paid + off, _LEAST)
        longest = price[_PRICE_DAYS[-1]]
        found["price"] = longest
        for days in _PRICE_DAYS[:-1]:
            found[f"price_{days}_to_usual"] = _ratio(price[days], longest)
        return found

    def _group_levels(self, origin: int) -> dict[str, Floats]:
        """How the groups of a product, and the whole, have been moving; its share of them."""
        own = _window(self._sums, origin, LEVEL_DAYS)
        found: dict[str, Floats] = {}
        for name, codes in self._groups.items():
            sums = self._group_sums[name]
            week, month, usual = (_mean(sums, origin, days)[codes] for days in (7, 28, 112))
            if name in self._places:
                found[name] = self._places[name]
            found[f"{name}_trend_7"] = week / np.maximum(month, _LEAST)
            found[f"{name}_trend_28"] = month / np.maximum(usual, _LEAST)
            found[f"{name}_share"] = own / np.maximum(
                _window(sums, origin, LEVEL_DAYS)[codes], _LEAST
            )
        total = self._totals.sums
        week, month, usual = (_mean(total, origin, days) for days in (7, 28, 112))
        found["total_trend_7"] = np.repeat(week / np.maximum(month, _LEAST), len(own))
        found["total_trend_28"] = np.repeat(month / np.maximum(usual, _LEAST), len(own))
        return found

    def _covariate_history(self, origin: int) -> dict[str, Floats]:
        """What a covariate was lately, and what a day above its usual height has brought."""
        since = max(0, origin + 1 - _LIFT_DAYS)
        sold = self._panel.quantity[:, since : origin + 1]
        usual_sold = level(self._panel.quantity, self._panel.first, origin, _LIFT_DAYS)
        corrected = level(self._panel.quantity, self._panel.first, origin, LEVEL_DAYS)
        found: dict[str, Floats] = {}
        for name, values in self._covariates.items():
            lately = values[:, since : origin + 1]
            usual = lately.mean(axis=1)
            on = lately > usual[:, None] + 1e-9
            sold_on, sold_off = (
                ((sold * days).sum(axis=1) + usual_sold * _PRIOR_DAYS)
                / (days.sum(axis=1) + _PRIOR_DAYS)
                for days in (on, ~on)
            )
            found[f"{name}_usual"] = usual
            found[f"{name}_lift"] = sold_on / np.maximum(sold_off, _LEAST)
            found[f"{name}_sold_off"] = sold_off
            found[f"{name}_sold_off_to_usual"] = _log_ratio(sold_off, corrected)
            found[f"{name}_28"] = _mean(self._covariate_sums[name], origin, 28)
            found[f"{name}_56"] = _mean(self._covariate_sums[name], origin, LEVEL_DAYS)
            found[f"{name}_now"] = values[:, origin]
        return found

    def _days(self, origin: int) -> dict[str, Floats]:
        ahead = np.arange(1, self._horizon + 1)
        days = {name: values[origin + ahead] for name, values in self._calendar.items()}
        return {"horizon": ahead.astype(float), "week": (ahead - 1) // 7 * 1.0} | days

    def _profiles(self, origin: int) -> dict[str, Floats]:
        """What the weekday of the target has brought: to all, to each group, to the product."""
        panel = self._panel
        count = len(panel.products)
        ahead = self._weekday[origin + 1 : origin + 1 + self._horizon]
        profile = weekday_profile(self._totals.quantity, self._weekday, origin)[ahead]
        mean = level(panel.quantity, panel.first, origin, LEVEL_DAYS)
        found = {
            "weekday_of_all": np.broadcast_to(profile, (count, self._horizon)),
            "usual": mean[:, None] * profile,
        }
        for name, days in (("weekday_of_product", _PROFILE_DAYS), ("weekday_of_product_28", 28)):
            means = self._weekday_means(panel.quantity, origin, days)
            found[name] = means[:, ahead]
            found[f"{name}_to_mean"] = (means[:, ahead] + _PRIOR_WEEKDAY_PIECES * profile) / (
                means.mean(axis=1, keepdims=True) + _PRIOR_WEEKDAY_PIECES
            )
        found["year_ago"] = self._year_ago(self._sums, origin)
        found["year_ago_of_all"] = np.broadcast_to(
            self._year_ago(self._totals.sums, origin), found["usual"].shape
        )
        for name, codes in self._groups.items():
            means = self._weekday_means(self._group_quantity[name], origin, _PROFILE_DAYS)
            means = means / np.maximum(means.mean(axis=1, keepdims=True), _LEAST)
            found[f"weekday_of_{name}"] = means[codes][:, ahead]
        return found

    def _year_ago(self, sums: Floats, origin: int) -> Floats:
        """The week about the target a year ago, against the eight weeks that led to its origin.

        NaN where the panel does not reach back so far, or nothing sold then.
        """
        then = origin - _YEAR_DAYS
        targets = then + np.arange(1, self._horizon + 1)
        if then + 1 < LEVEL_DAYS:
            return np.full((len(sums), self._horizon), np.nan)
        week = (sums[:, targets + 4] - sums[:, targets - 3]) / 7
        before = (_window(sums, then, LEVEL_DAYS) / LEVEL_DAYS)[:, None]
        return _ratio(week, np.broadcast_to(before, week.shape))

    def _weekday_means(self, quantity: Floats, origin: int, days: int) -> Floats:
        since = max(0, origin + 1 - days)
        which = self._weekday[since : origin + 1]
        one_hot = (which[:, None] == np.arange(7)).astype(float)
        return np.asarray(
            quantity[:, since : origin + 1] @ one_hot / np.maximum(one_hot.sum(axis=0), 1)
        )

    def _plan_ahead(self, origin: int, known: dict[str, Floats]) -> dict[str, Floats]:
        """The plan of the target day, plain, against what it was lately, and as it came to be."""
        ahead = slice(origin + 1, origin + 1 + self._horizon)
        found: dict[str, Floats] = {}
        for name, values in self._panel.plan.items():
            planned = values[:, ahead]
            found[name] = planned
            found[f"{name}_against_lately"] = planned - known[f"{name}_56"][:, None]
            for group in self._groups:
                found[f"{name}_in_{group}"] = self._group_plan[group, name][:, ahead]
            peak = float(self._totals.plan_peaks[name][: ahead.stop].max())
            before = self._plan_before(values[:, : ahead.stop], _ON * peak)
            found |= {f"{name}_{what}": of_days for what, of_days in before.items()}
        return found

    def _plan_before(self, values: Floats, least: float) -> dict[str, Floats]:
        """The plan one and two weeks before the target day, and how long it has been on or off.

        A promotion's first week brings more than its third, and the week after it less than usual.

        Args:
            values: the plan up to the last target day.
            least: it is on where it is above this.
        """
        days = np.arange(values.shape[1])
        found = {
            f"{weeks}_weeks_before": values[:, np.maximum(days - 7 * weeks, 0)] for weeks in (1, 2)
        }
        is_on = values > least
        for name, other in (("days_on", ~is_on), ("days_off", is_on)):
            last_other = np.maximum.accumulate(np.where(other, days, -_LONG_DAYS), axis=1)
            found[name] = np.minimum(days - last_other, _LONG_DAYS).astype(float)
        return {name: of_days[:, -self._horizon :] for name, of_days in found.items()}


def _places(labels: Labels, known: Labels | None) -> Floats:
    """Place of each label among those known, NaN for any other."""
    if known is None:
        known = np.unique(labels)
    place = np.searchsorted(known, labels)
    is_known = known[np.minimum(place, len(known) - 1)] == labels
    return np.where(is_known, place, np.nan)


def _cumulative(values: Floats) -> Floats:
    return np.concatenate([np.zeros((len(values), 1)), values.cumsum(axis=1)], axis=1)


def _window(sums: Floats, origin: int, days: int) -> Floats:
    """Sum of the last `days` up to the origin, by cumulative sums."""
    return np.asarray(sums[:, origin + 1] - sums[:, max(0, origin + 1 - days)])


def _mean(sums: Floats, origin: int, days: int) -> Floats:
    return _window(sums, origin, days) / min(days, origin + 1)


def _log_ratio(above: Floats, below: Floats) -> Floats:
    return np.asarray(np.log((above + _PRIOR_PIECES) / (below + _PRIOR_PIECES)))


def _ratio(above: Floats, below: Floats) -> Floats:
    """NaN where the divisor is not positive: LightGBM takes it for not known."""
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), np.nan)
