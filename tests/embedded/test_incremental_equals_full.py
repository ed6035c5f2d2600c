"""Any sequence of increments gives the rows that a full refresh gives, and the source's state."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.embedded.dbt_helpers import Event, FakeLake, Table

CHANGES = 700
BATCHES = 6
START = datetime(2017, 1, 2, tzinfo=UTC)
# A small shop: few products sell on many days.
VARIABLES = ("--vars", "{feature_least_selling_days: 2}")
# What differs between two histories of one truth: which run wrote a row, from which batch, and how.
RUN_COLUMNS = ("_increment_id", "_batch_id", "_arrival")

Values = dict[str, Any]
Make = Callable[[Random, datetime], Values]


def _money(rng: Random, most: int = 2000) -> Decimal:
    return Decimal(rng.randrange(1, most)) / 100


def _sale(rng: Random, at: datetime) -> Values:
    gross, discount = _money(rng), _money(rng, 100)
    return {
        "order_id": rng.randrange(1, 16),
        "line_no": rng.randrange(1, 4),
        "product_id": rng.randrange(1, 10),
        "client_id": rng.randrange(1, 6),
        "quantity": rng.randrange(1, 5),
        "gross_amount": gross,
        "discount_amount": discount,
        "net_amount": gross - discount,
        "sold_at": at - timedelta(hours=rng.randrange(200)),
    }


MAKE: dict[str, tuple[int, Make]] = {
    "product": (
        9,
        lambda rng, at: {
            "name": rng.choice("AB"),
            "brand": "National",
            "department": rng.choice(["GROCERY", "DRUG", None]),
            "category": rng.choice(["BREAD", "SOAP"]),
            "type": "ANY",
            "list_price": rng.choice([Decimal("1.00"), Decimal("2.50")]),
            "is_active": rng.random() < 0.9,
        },
    ),
    "client": (
        5,
        lambda rng, at: {
            "email": rng.choice("xy"),
            "city": rng.choice(["Lyon", "Nice"]),
            "created_at": START - timedelta(days=3),
        },
    ),
    "transporter": (
        3,
        lambda rng, at: {"name": rng.choice("TU"), "mode": "van", "lead_time_days": 2},
    ),
    "order": (
        15,
        lambda rng, at: {
            "client_id": rng.randrange(1, 6),
            "store_id": rng.randrange(1, 5),
            "transporter_id": rng.randrange(1, 4),
            "ordered_at": at - timedelta(hours=rng.randrange(100)),
            "status": rng.choice(["placed", "shipped", "delivered", "cancelled"]),
        },
    ),
    "order_item": (
        40,
        lambda rng, at: {
            "product_id": rng.randrange(1, 10),
            "quantity": rng.randrange(1, 5),
            "unit_price": _money(rng),
            "discount_amount": _money(rng, 100),
        },
    ),
    "sale": (40, _sale),
    "inventory_movement": (
        30,
        lambda rng, at: {
            "product_id": rng.randrange(1, 5),
            "warehouse_id": rng.randrange(1, 3),
            "kind": rng.choice(["receipt", "sale", "adjustment"]),
            "quantity": rng.randrange(-3, 9),
            "moved_at": at - timedelta(hours=rng.randrange(100)),
        },
    ),
    "promotion": (
        20,
        lambda rng, at: {
            "stores_on_display": rng.randrange(9),
            "stores_in_mailer": rng.randrange(9),
        },
    ),
    "client_interaction": (
        20,
        lambda rng, at: {
            "client_id": rng.randrange(1, 6),
            "product_id": rng.choice([None, *range(1, 10)]),
            "kind": rng.choice(["view", "coupon", "campaign"]),
            "at": at - timedelta(hours=rng.randrange(100)),
        },
    ),
}


def _key(table: Table, number: int) -> Values:
    """Spread a number over the columns of the key, so that their combination is unique."""
    if table.name == "promotion":
        return {"product_id": number % 7 + 1, "week_start": date(2017, 1, 2 + 7 * (number // 7))}
    if len(table.key) == 2:
        return {table.key[0]: number % 15 + 1, table.key[1]: number // 15 + 1}
    return {table.key[0]: number + 1}


def source_log(rng: Random, tables: dict[str, Table]) -> list[Event]:
    """Make the changes of a small shop, in the source's order."""
    alive: set[tuple[str, int]] = set()
    log: list[Event] = []
    for position in range(1, CHANGES + 1):
        name = rng.choice(list(MAKE))
        count, make = MAKE[name]
        number = rng.randrange(count)
        # Clocks run backwards at times, and several changes share an instant.
        at = START + timedelta(minutes=90 * (position // 2) - rng.choice([0, 0, 0, 400]))
        key = _key(tables[name], number)
        event = Event(name, "u", position, at, 0, key | make(rng, at))
        if name == "promotion" and rng.random() < 0.03:
            alive = {entry for entry in alive if entry[0] != name}
            log.append(replace(event, op="t", values={}))
            continue
        if (name, number) not in alive:
            alive.add((name, number))
            event = replace(event, op=rng.choice("cr"))
        elif rng.random() < 0.3:
            alive.discard((name, number))
            event = replace(event, op="d", values=key)
        log.append(event)
    return log


def deliveries(rng: Random, log: list[Event]) -> dict[str, list[Event]]:
    """Cut the log into batches as a bad day delivers it: some late, some twice or thrice."""
    batches: dict[str, list[Event]] = {f"b{number:03d}": [] for number in range(BATCHES)}
    names = list(batches)
    for place, event in enumerate(log):
        due = place * BATCHES // len(log)
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            late = rng.choice([0, 0, 0, 1, 2]) + due
            batches[names[min(late, BATCHES - 1)]].append(event)
    offset = 0
    for name, events in batches.items():
        rng.shuffle(events)
        for place, event in enumerate(events):
            events[place] = replace(event, offset=offset, partition=rng.randrange(2))
            offset += 1
        batches[name] = events
    return batches


def replay(events: list[Event], table: Table) -> dict[tuple[Any, ...], Values]:
    """Tell the current state of a table: the oracle, which knows nothing of the models."""
    state: dict[tuple[Any, ...], Values] = {}
    for event in sorted(events, key=lambda e: e.position):
        key = tuple(event.values.get(column) for column in table.key)
        if event.op == "t":
            state.clear()
        elif event.op == "d":
            state.pop(key, None)
        else:
            state[key] = event.values
    return state


def versions(events: list[Event], number: int) -> list[tuple[Any, ...]]:
    """Tell the versions of a product by going through its changes one by one."""
    found: list[list[Any]] = []
    latest = datetime.min.replace(tzinfo=UTC)
    at_instant: dict[datetime, Event] = {}
    for event in sorted(events, key=lambda e: e.position):
        if event.values.get("product_id") == number:
            latest = max(latest, event.at)
            at_instant[latest] = event
    for at, event in sorted(at_instant.items(), key=lambda entry: entry[0]):
        values = [event.values.get(c) for c in ("name", "department", "category", "list_price")]
        values += [event.values.get("is_active")]
        is_open = bool(found) and found[-1][-1] is None
        if is_open and event.op != "d" and found[-1][0] == values:
            continue
        if is_open:
            found[-1][-1] = at
        if event.op != "d":
            found.append([values, at, None])
    return [(*row[0], row[1], row[2]) for row in found]


def incremental_models(lake: FakeLake) -> list[str]:
    manifest = json.loads((lake.home / "target" / "manifest.json").read_text())
    return sorted(
        f'"{node["schema"]}"."{node["name"]}"'
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model" and node["config"]["materialized"] == "incremental"
    )


def rows_of(lake: FakeLake, relation: str) -> Counter[str]:
    """Count the rows of a table by their text, without the columns that name a run."""
    names = [row[0] for row in lake.query(f"describe {relation}")]
    columns = ", ".join(f'"{name}"' for name in names if name not in RUN_COLUMNS)
    return Counter(repr(row) for row in lake.query(f"select {columns} from {relation}"))


def assert_staging_is_the_source(lake: FakeLake, landed: list[Event]) -> None:
    for name, table in lake.tables.items():
        events = [event for event in landed if event.table == name]
        names = [column for column in table.schema.names if not column.startswith("_")][:-2]
        listed = ", ".join(f'"{column}"' for column in names)
        rows = lake.query(f"select {listed} from staging.base_{name} where not _is_deleted")
        expected = [
            tuple(values.get(column) for column in names)
            for values in replay(events, table).values()
        ]
        assert Counter(rows) == Counter(expected), name
        changes = {(e.position, e.op) for e in events}
        assert lake.query(f"select count(*) from staging.hist_{name}") == [(len(changes),)], name


@pytest.mark.parametrize("seed", [11])
def test_increments_of_a_bad_day_equal_a_full_refresh(tmp_path: Path, seed: int) -> None:
    """Late, repeated, re-ordered, deleted and re-created: no history of runs may show."""
    rng = Random(seed)
    lake = FakeLake(tmp_path / "lake")
    log = source_log(rng, lake.tables)
    batches = deliveries(rng, log)
    order = list(batches)
    order[1], order[3] = order[3], order[1]
    landed: list[Event] = []

    for place, batch in enumerate(order):
        # A lander that has written but not committed yet: its events must not show.
        held = batches[order[place + 1]] if place == 2 else []
        lake.land(batch, batches[batch], ledger=place != 3)
        if place == 3:
            lake.commit(batch, {event.table for event in batches[batch]})
        landed += batches[batch]
        if held:
            lake.land("b999", held, ledger=False)
        lake.dbt("run", *VARIABLES)
        assert_staging_is_the_source(lake, landed)

    for product in range(1, 10):
        events = [event for event in landed if event.table == "product"]
        found = lake.query(
            "select product_name, nullif(department, 'UNKNOWN'), category, list_price, is_active,"
            f" valid_from, valid_to from marts.dim_product where product_id = {product}"
            " order by valid_from"
        )
        assert found == versions(events, product)

    models = incremental_models(lake)
    before = {model: rows_of(lake, model) for model in models}
    increments = lake.query("from state.increment order by all")
    lake.dbt("run", *VARIABLES)
    assert lake.query("from state.increment order by all") == increments, "no news, no increment"
    assert {model: rows_of(lake, model) for model in models} == before

    lake.dbt("run", "--full-refresh", *VARIABLES)
    for model in models:
        after = rows_of(lake, model)
        assert before[model] == after, model
