"""The calendar of a day: weekday, day of month, nearness of holidays, whether shops are closed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from pipelines.forecasting.panel import Floats, Ints

# Beyond this a holiday does not count.
_FAR_DAYS = 14
_MONDAY, _THURSDAY = 0, 3


def easter(year: int) -> date:
    """Easter Sunday (anonymous Gregorian computus; Meeus, Astronomical Algorithms, ch. 8)."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    m = (32 + 2 * e + 2 * i - h - k) % 7
    n = (a + 11 * h + 22 * m) // 451
    month, day = divmod(h + m - 7 * n + 114, 31)
    return date(year, month, day + 1)


def us_holidays(year: int) -> list[date]:
    """The holidays of the United States that show in the sales of shops, in order."""
    return [
        date(year, 1, 1),
        easter(year),
        _nth(year, 6, _MONDAY, 1) - timedelta(days=7),  # Memorial Day: the last Monday of May
        date(year, 7, 4),
        _nth(year, 9, _MONDAY, 1),  # Labor Day
        _nth(year, 11, _THURSDAY, 4),  # Thanksgiving
        date(year, 12, 25),
    ]


def weekday(days: np.ndarray[tuple[int], np.dtype[np.datetime64]]) -> Ints:
    """0 for Monday to 6 for Sunday."""
    # 1970-01-01 was a Thursday.
    return (days.astype("datetime64[D]").astype(np.int64) + _THURSDAY) % 7


def is_closed(
    days: np.ndarray[tuple[int], np.dtype[np.datetime64]], closed: Sequence[str]
) -> npt.NDArray[np.bool_]:
    """Whether a day is among those on which no shop opens.

    Args:
        days: dates, shape (days,).
        closed: `12-25` for each year's, `2018-01-02` for one day.
    """
    dates = np.datetime_as_string(days, unit="D")
    return np.array([date in closed or date[5:] in closed for date in dates], bool)


def calendar(days: np.ndarray[tuple[int], np.dtype[np.datetime64]]) -> dict[str, Floats]:
    """What the calendar tells of each day.

    Args:
        days: dates, shape (days,).

    Returns:
        By name, shape (days,): `weekday` (0 = Monday), `day_of_month`, and `days_to_holiday` and
        `days_since_holiday`, both at most 14.
    """
    days = days.astype("datetime64[D]")
    years = days.astype("datetime64[Y]").astype(int) + 1970
    holidays = np.array(
        [day for year in range(years.min() - 1, years.max() + 2) for day in us_holidays(year)],
        dtype="datetime64[D]",
    )
    ahead = (holidays[None, :] - days[:, None]).astype(int)
    months = days.astype("datetime64[M]")
    found = {
        "weekday": weekday(days),
        "day_of_month": (days - months).astype(int) + 1,
        "days_to_holiday": np.where(ahead >= 0, ahead, _FAR_DAYS).min(axis=1).clip(max=_FAR_DAYS),
        "days_since_holiday": np.where(ahead <= 0, -ahead, _FAR_DAYS)
        .min(axis=1)
        .clip(max=_FAR_DAYS),
    }
    return {name: values.astype(float) for name, values in found.items()}


def _nth(year: int, month: int, day_of_week: int, number: int) -> date:
    """The so-maniest weekday of a month."""
    first = date(year, month, 1)
    offset = (day_of_week - first.weekday()) % 7
    return first + timedelta(days=offset + 7 * (number - 1))
