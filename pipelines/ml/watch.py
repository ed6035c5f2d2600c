"""Watch the champions: whether what they see, and how they err, has moved since their training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from pipelines.drift import Drift, measure
from pipelines.ml.kinds import NAMES
from pipelines.ml.published import Published, published
from pipelines.ml.registry import Registry, Version
from pipelines.settings import Settings

Subject = Literal["features", "errors"]
# Before the end of the training; what is compared comes after it.
_REFERENCE_DAYS = 56
# A few days are of a few weekdays.
_LEAST_DAYS = 7
_ERROR_DAYS = 28


@dataclass(frozen=True)
class Watched:
    """What was found for one champion.

    Attributes:
        drifts: of each column; empty where nothing could be compared.
        note: why, then; else the days that were compared.
    """

    kind: str
    model_version: str
    subject: Subject
    drifts: tuple[Drift, ...]
    note: str

    @property
    def is_drifted(self) -> bool:
        return any(drift.is_drifted for drift in self.drifts)


@dataclass(frozen=True)
class _Seen:
    """What a kind of model sees, day by day.

    Attributes:
        rows: a query of the columns and `day`.
        columns: each with how it is read.
    """

    tables: tuple[str, ...]
    day: str
    source: str
    columns: dict[str, str]

    def rows(self, since: date, until: date) -> str:
        """SQL: the rows of the days after `since` up to `until`."""
        told = ", ".join(f"{sql} as {name}" for name, sql in self.columns.items())
        return (
            f"select {told} from {self.source} "
            f"where {self.day} > date '{since}' and {self.day} <= date '{until}'"
        )


def _numbers(*names: str) -> dict[str, str]:
    return {name: f"cast({name} as double)" for name in names}


_SEEN = {
    "forecast": _Seen(
        ("features.feat_product_day",),
        "feature_date",
        "features.feat_product_day",
        _numbers(
            "quantity_mean_28", "quantity_deviation_28", "unit_price_28", "discount_depth_28",
            "days_since_sale",
        ),
    ),
    "recommend": _Seen(
        ("marts.fct_sale", "marts.dim_product"),
        "sale_date",
        "marts.fct_sale as sale left join marts.dim_product as product "
        "on sale.product_id = product.product_id and product.is_current",
        {"department": "product.department", "brand": "product.brand"}
        | {"quantity": "cast(sale.quantity as double)"},
    ),
    "churn": _Seen(
        ("features.feat_client",),
        "feature_date",
        "features.feat_client",
        _numbers(
            "recency_days", "order_count_84d", "net_amount_84d", "mean_gap_days",
            "mean_basket_amount_84d", "promo_share_84d",
        ),
    ),
}  # fmt: skip


def watch(settings: Settings, kinds: Sequence[str] | None = None) -> list[Watched]:
    """Compare what each champion was trained on with what has come since.

    Args:
        kinds: names; default all. One without a champion is not watched.

    Raises:
        LakehouseError: nothing is published, or Evidently is not installed.
        Unavailable: MLflow is not reached.
    """
    registry = Registry(settings)
    champions = [c for c in map(registry.champion, kinds or NAMES) if c is not None]
    found: list[Watched] = []
    if not champions:
        return found
    with published(settings) as source:
        for champion in champions:
            found.append(_features(source, champion))
            if champion.kind == "forecast":
                found.append(_errors(source, champion))
    return found


def _features(source: Published, champion: Version) -> Watched:
    seen = _SEEN[champion.kind]
    trained, last = date.fromisoformat(champion.trained_until), source.last_day
    if (last - trained).days < _LEAST_DAYS:
        note = f"trained until {trained}: fewer than {_LEAST_DAYS} days have come since"
        return Watched(champion.kind, champion.name, "features", (), note)
    begin = date.fromordinal(trained.toordinal() - _REFERENCE_DAYS)
    before = source.query(seen.rows(begin, trained), seen.tables)
    since = source.query(seen.rows(trained, last), seen.tables)
    drifts = tuple(measure(before, since, list(seen.columns)))
    note = f"the {_REFERENCE_DAYS} days up to {trained} against those up to {last}"
    return Watched(champion.kind, champion.name, "features", drifts, note)


def _errors(source: Published, champion: Version) -> Watched:
    """Of the champion's own forecasts: the newest four weeks against those before."""
    table = "predictions.mart_forecast_accuracy"
    border = date.fromordinal(source.last_day.toordinal() - _ERROR_DAYS)
    seen = _Seen(
        (table,),
        "forecast_date",
        f"(select * from {table} where model_version = '{champion.name}')",
        _numbers("absolute_error"),
    )
    before = source.query(seen.rows(date.min, border), seen.tables)
    since = source.query(seen.rows(border, source.last_day), seen.tables)
    drifts = tuple(measure(before, since, list(seen.columns)))
    note = f"the days up to {border} against those up to {source.last_day}"
    return Watched(champion.kind, champion.name, "errors", drifts, note)
