"""Predictions by a rule, so that the marts made of them have rows without a model."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from pipelines.lake.duck import connect
from pipelines.lake.inference import AUDIT, RUNS, SCHEMAS, append_inference
from pipelines.lake.sql import literal
from pipelines.settings import Settings

_HORIZON = 28
# So many days before the last sale lies the origin: what has come since can be measured.
_AGE = 10


def predict(settings: Settings, number: int) -> None:
    """Append two runs of each kind, of which the second counts, and predictions of one cut off."""
    last, products, clients = _known(settings)
    origin = last - timedelta(days=_AGE)
    for again in range(2):
        run = f"run-{number}-{again}"
        _append(settings, "forecast", [
            _forecast(product, origin, day, run) for product in products
            for day in range(1, _HORIZON + 1)
        ])  # fmt: skip
        _append(settings, "recommendation", [
            {"client_id": client, "list": which, "rank": rank, "product_id": product,
             "score": Decimal(10 - rank) / 8, "reason": "popular",
             "model_version": "recommend/1", "run_id": run}
            for client in clients for which in ("repeat", "new")
            for rank, product in enumerate(products[:3], start=1)
        ])  # fmt: skip
        _append(settings, "churn", [
            {"client_id": client, "feature_date": last, "probability": Decimal(client % 9) / 10,
             "reason": "few orders", "model_version": "churn/1", "run_id": run}
            for client in clients
        ])  # fmt: skip
        for kind in ("forecast", "recommend", "churn"):
            at = datetime(2018, 1, 1 + number, again, 0, 0, 123000, tzinfo=UTC)
            _append(settings, RUNS, [
                {"run_id": run, "kind": kind, "model_version": f"{kind}/1", "origin_date": origin,
                 "inputs": "[]", "row_count": 1, "scored_at": at,
                 "scored_at_us": int(at.timestamp() * 1e6)}
            ])  # fmt: skip
            _append(settings, AUDIT, [
                {"audit_id": f"{run}-{kind}", "action": "score", "kind": kind,
                 "model_version": f"{kind}/1", "actor": "nobody", "reason": "it was due",
                 "run_id": run, "acted_at": at}
            ])  # fmt: skip
    _append(settings, "forecast", [_forecast(products[0], origin, 1, f"cut-off-{number}")])


def _known(settings: Settings) -> tuple[date, list[int], list[int]]:
    """The last day with a sale, products in stock and clients, by what has landed."""
    with connect(settings) as connection:

        def ask(table: str, sql: str) -> list[Any]:
            place = literal(str(settings.raw / f"shop.public.{table}"))
            rows = connection.execute(sql.format(f"delta_scan({place})")).fetchall()
            return [row[0] for row in rows]

        (last,) = ask("sale", "select cast(max(sold_at) as date) from {}")
        products = ask(
            "inventory_movement",
            "select distinct product_id from {} where product_id is not null order by 1 limit 40",
        )
        clients = ask(
            "client", "select distinct client_id from {} where client_id is not null order by 1"
        )
    return last, products, clients


def _forecast(product: int, origin: date, day: int, run: str) -> dict[str, Any]:
    mean = Decimal(product % 7) / 3 + Decimal(day % 5) / 7
    figures = {"mean": mean, "p10": mean / 2, "p50": mean, "p90": mean * 2, "baseline": mean + 1}
    rounded = {name: value.quantize(Decimal("0.0001")) for name, value in figures.items()}
    return {
        "product_id": product,
        "forecast_date": origin + timedelta(days=day),
        "origin_date": origin,
        "horizon_day": day,
        "model_version": "forecast/1",
        "run_id": run,
    } | rounded


def _append(settings: Settings, name: str, rows: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(rows, SCHEMAS[name])
    append_inference(settings.raw, name, table, metadata={"run_id": rows[0]["run_id"]})
