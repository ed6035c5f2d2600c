"""What was known of some entities at some instants: one statement for Trino."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from feast import FeatureView

from pipelines.errors import UsageError
from pipelines.features.rows import KNOWN_AT, keys_of_view

# Of each row that is asked for: its number, from one on.
PLACE = "place"
_AT = "asked_at"


def joined(
    asked: pd.DataFrame,
    time: str,
    views: Sequence[FeatureView],
    wanted: Mapping[str, Sequence[str]],
    published: Mapping[str, str],
) -> str:
    """A query for the newest features that were known, and not too old, at each row's instant.

    Args:
        asked: keys (whole numbers) and instants.
        time: the column of the instants, with a time zone; they count in microseconds.
        wanted: view → its features that are wanted.
        published: view → a query over its rows (`rows_of`).

    Returns:
        SQL; a row for each of `asked`: `place`, and the features in the order of views and wanted.

    Raises:
        UsageError: a key or an instant is none.
    """
    keys = list(dict.fromkeys(key for view in views for key in keys_of_view(view)))
    known = ", ".join(
        f"{view.name} as ({_known(view, wanted[view.name], published[view.name])})"
        for view in views
    )
    features = [f'{view.name}."{name}"' for view in views for name in wanted[view.name]]
    joins = " ".join(
        f"left join {view.name} on {view.name}.{PLACE} = asked.{PLACE}" for view in views
    )
    return (
        f"with asked as ({_asked(asked, time, keys)}), {known} "
        f"select {', '.join([f'asked.{PLACE}', *features])} from asked {joins}"
    )


def _asked(asked: pd.DataFrame, time: str, keys: Sequence[str]) -> str:
    """The rows that are asked for, as texts: a row of VALUES for each costs Trino far more."""
    if asked[time].isna().any():
        raise UsageError(f"{time} is missing in a row", "give each row an instant")
    instants = asked[time].dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[us]")
    columns = {key: _whole(asked[key]) for key in keys} | {_AT: instants.astype("int64")}
    told = ", ".join(f"split('{','.join(map(str, values))}', ',')" for values in columns.values())
    numbers = ", ".join(f'cast("{key}" as bigint) as "{key}"' for key in keys)
    names = ", ".join(f'"{name}"' for name in columns)
    return (
        f"select {PLACE}, {numbers}, from_unixtime_nanos(cast({_AT} as bigint) * 1000) as {_AT} "
        f"from unnest({told}) with ordinality as told ({names}, {PLACE})"
    )


def _known(view: FeatureView, wanted: Sequence[str], published: str) -> str:
    features = ", ".join(f'"{name}"' for name in wanted)
    same = " and ".join(f'known."{key}" = asked."{key}"' for key in keys_of_view(view))
    ttl = int(view.ttl.total_seconds()) if view.ttl else 0
    fresh = f" and known.{KNOWN_AT} >= asked.{_AT} - interval '{ttl}' second" if ttl else ""
    return (
        f"select {PLACE}, {features} from ("
        f"select asked.{PLACE}, known.*, row_number() over ("
        f"partition by asked.{PLACE} order by known.{KNOWN_AT} desc) as newness "
        f"from asked join ({published}) as known "
        f"on {same} and known.{KNOWN_AT} <= asked.{_AT}{fresh}) as ranked where newness = 1"
    )


def _whole(values: pd.Series[Any]) -> pd.Series[int]:
    numbers = pd.to_numeric(values, errors="coerce")
    if not (numbers % 1 == 0).all():
        raise UsageError(
            f"{values.name} has values that are no whole numbers", "name each entity by its key"
        )
    return numbers.astype("int64")
