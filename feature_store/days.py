"""What the calendar tells of a day that is asked about: known ahead, so computed, never stored."""

from __future__ import annotations

import pandas as pd
from feast import Field, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Int64, UnixTimestamp

from feature_store.entities import OWNER

asked_day = RequestSource(name="asked_day", schema=[Field(name="day", dtype=UnixTimestamp)])
_NAMES = ("weekday", "day_of_month", "days_to_holiday", "days_since_holiday")


@on_demand_feature_view(  # type: ignore[untyped-decorator]
    name="calendar",
    sources=[asked_day],
    schema=[Field(name=name, dtype=Int64) for name in _NAMES],
    description="Weekday (1 is Monday) and holidays of the day asked about.",
    tags={"layer": "features"},
    owner=OWNER,
)
def calendar(inputs: pd.DataFrame) -> pd.DataFrame:
    # Feast keeps this function's text and runs it where the module is not known.
    import numpy as np

    from pipelines.forecasting.calendar import calendar as told_of

    days = pd.to_datetime(inputs["day"], utc=True).dt.tz_localize(None)
    told = told_of(days.to_numpy().astype("datetime64[D]"))
    told["weekday"] = told["weekday"] + 1
    return pd.DataFrame({name: values.astype(np.int64) for name, values in told.items()})
