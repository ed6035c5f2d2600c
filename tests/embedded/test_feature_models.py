"""A feature of a day knows what was known at its end: the future never shows, a correction does."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from pipelines.forecasting.calendar import calendar
from tests.embedded.conftest import Lakehouse
from tests.embedded.dbt_helpers import Event, FakeLake

START = datetime(2017, 1, 2, 10, tzinfo=UTC)
DAYS = 90
# A day on which the past is told once more, with the future known.
THEN = date(2017, 3, 12)
PLANTED = 1_000_000
MODELS = ("feat_product_day", "feat_client", "feat_client_product", "feat_price_elasticity")


def sale(number: int, at: datetime, *, position: int = 0, **values: Any) -> Event:
    plain = {
        "sale_id": number, "order_id": number, "line_no": 1, "product_id": number % 5,
        "client_id": number % 3, "quantity": 1 + number % 4, "gross_amount": Decimal("3.00"),
        "discount_amount": Decimal(number % 2), "net_amount": Decimal(3 - number % 2),
        "sold_at": at,
    }  # fmt: skip
    return Event("sale", "u" if position else "c", position or number, at, number, plain | values)


@pytest.fixture
def shop(tmp_path: Path) -> FakeLake:
    """A shop with sales of three months, the last of which are out of all proportion."""
    rng = Random(7)
    lake = FakeLake(tmp_path / "lake")
    days = sorted(rng.randrange(DAYS) for _ in range(200))
    events = [sale(n, START + timedelta(days=day)) for n, day in enumerate(days, 1)]
    lake.land("b1", [
        sale(event.offset, event.at, quantity=PLANTED, net_amount=Decimal(PLANTED))
        if event.at.date() > THEN
        else event
        for event in events
    ])  # fmt: skip
    lake.land("b2", [
        Event("promotion", "c", 1, START, 1, {
            "product_id": 1, "week_start": date(2017, 3, 6), "stores_on_display": 4,
            "stores_in_mailer": 2,
        }),
        *(
            Event("inventory_movement", "c", n, START + timedelta(days=n), n, {
                "movement_id": n, "product_id": 2, "warehouse_id": 1, "kind": "adjustment",
                "quantity": 5 if n % 2 else -5, "moved_at": START + timedelta(days=10 * n),
            })
            for n in range(1, 6)
        ),
    ])  # fmt: skip
    return lake


def built(lake: FakeLake, *arguments: str, business_date: date | None = None) -> None:
    variables = f"feature_least_selling_days: 3, business_date: {business_date or 'null'}"
    selected = [f"+{model}" for model in MODELS]
    lake.dbt("run", "-s", *selected, "--vars", f"{{{variables}}}", *arguments)


def rows(lake: FakeLake, model: str, condition: str = "true") -> Counter[tuple[Any, ...]]:
    return Counter(lake.query(f"select * from features.{model} where {condition}"))


def test_what_came_after_a_day_never_shows_in_its_features(shop: FakeLake) -> None:
    """Told with the future known and without: a row of a day is the same. So after setting back."""
    until = f"feature_date <= '{THEN}'"
    built(shop)
    assert shop.query(f"select max(quantity) >= {PLANTED} from features.feat_product_day") == [
        (True,)
    ]
    knowing = {model: rows(shop, model, until) for model in MODELS[:1]}
    sundays = rows(shop, "feat_client", until)

    built(shop, business_date=THEN)
    set_back = {model: rows(shop, model) for model in MODELS}
    assert set_back["feat_product_day"] == knowing["feat_product_day"]
    assert set_back["feat_client"] == sundays, f"{THEN} is a Sunday"
    for model in MODELS:
        assert set_back[model], model
        assert not any(PLANTED in row for row in set_back[model]), model

    built(shop, "--full-refresh", business_date=THEN)
    assert {model: rows(shop, model) for model in MODELS} == set_back
    built(shop)
    assert {model: rows(shop, model, until) for model in MODELS[:1]} == knowing


def test_a_late_correction_shows_from_its_day_on(shop: FakeLake) -> None:
    built(shop, business_date=THEN)
    (number, day), *_ = shop.query(
        "select sale_id, sale_date from marts.fct_sale where sale_date = ("
        "select max(sale_date) from marts.fct_sale where sale_date < '2017-03-01')"
    )
    before = rows(shop, "feat_product_day", f"feature_date < '{day}'")
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    shop.land("b3", [sale(number, at, position=1000, product_id=1, quantity=77)])
    built(shop, business_date=THEN)
    ((quantity, mean),) = shop.query(
        "select quantity, quantity_mean_7 from features.feat_product_day"
        f" where product_id = 1 and feature_date = '{day}'"
    )
    assert quantity >= 77
    assert mean >= 11
    assert rows(shop, "feat_product_day", f"feature_date < '{day}'") == before


def test_the_plan_and_the_empty_shelf_reach_the_days_they_concern(shop: FakeLake) -> None:
    """Also where they come late: a product's rows are made again though it did not sell."""
    promoted = "select list(feature_date order by feature_date) from features.feat_product_day"
    promoted += " where product_id"
    built(shop, business_date=THEN)
    ((week,),) = shop.query(f"{promoted} = 1 and stores_on_display = 4 and stores_in_mailer = 2")
    assert week == [date(2017, 3, 6) + timedelta(days=n) for n in range(7)]
    ((empty,),) = shop.query(f"{promoted} = 2 and is_stock_out")
    assert empty[0] == date(2017, 1, 23), "the evening of the 22nd was the first without"

    shop.land("b3", [
        Event("promotion", "u", 9, START, 90, {
            "product_id": 1, "week_start": date(2017, 3, 6), "stores_on_display": 0,
            "stores_in_mailer": 2,
        }),
        Event("inventory_movement", "c", 9, START, 91, {
            "movement_id": 9, "product_id": 2, "warehouse_id": 1, "kind": "receipt",
            "quantity": 100, "moved_at": START,
        }),
    ])  # fmt: skip
    built(shop, business_date=THEN)
    assert shop.query(f"{promoted} = 1 and stores_on_display > 0") == [(None,)]
    assert shop.query(f"{promoted} = 2 and is_stock_out") == [(None,)]
    changed = rows(shop, "feat_product_day")
    built(shop, "--full-refresh", business_date=THEN)
    assert rows(shop, "feat_product_day") == changed


def test_the_published_calendar_is_that_of_the_forecasts(demo: Lakehouse) -> None:
    found = demo.sql(
        "select date_day, day_of_week, days_to_holiday, days_since_holiday from marts.dim_date"
    )
    told = calendar(np.array([row["date_day"] for row in found], dtype="datetime64[D]"))
    assert [row["day_of_week"] - 1 for row in found] == list(told["weekday"])
    for name in ("days_to_holiday", "days_since_holiday"):
        assert [row[name] for row in found] == list(told[name]), name
