"""Features as Feast serves them: what a materialisation costs, and how long one answer takes."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import pandas as pd

from bench.measure import lakehouse, size, table
from pipelines.features import read
from pipelines.features.materialise import materialise
from pipelines.features.store import Opened, open_store
from pipelines.lake.catalog import create_published_views
from pipelines.lake.duck import connect
from pipelines.settings import Settings

_HISTORY = 1_000


def main() -> None:
    """Print seconds of the default demo's features; BENCH_READS (2,000) answers a service."""
    folder = Path(tempfile.mkdtemp(prefix="bench-feast-"))
    try:
        lakehouse("demo", home=folder / "lake")
        settings = Settings(home=folder / "lake", _env_file=None)
        first, found = _timed(lambda: materialise(settings))
        again, _ = _timed(lambda: materialise(settings))
        written = sum(view.written for view in found.values())
        table(
            "Materialisation of the default demo (500 clients)",
            ["what", "s", "rows written"],
            [["first", first, f"{written:,}"], ["nothing new", again, "0"]],
        )
        opened = open_store(settings)
        rows = [
            [service, *_answers(settings, opened, service, keys), _history(settings, service, keys)]
            for service, keys in _samples(settings).items()
        ]
        table(
            f"One answer from the open store, and {_HISTORY:,} rows of history",
            ["service", "p50 ms", "p99 ms", "history s"],
            rows,
        )
    finally:
        shutil.rmtree(folder)


def _timed(step: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = step()
    return time.perf_counter() - started, result


def _samples(settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """Keys that are served, spread over all."""
    day = pd.Timestamp("2017-12-24", tz="UTC")
    with connect(settings) as connection:
        create_published_views(connection, settings.published)

        def ask(keys: str, table: str) -> list[tuple[Any, ...]]:
            spread = f"select distinct {keys}, hash({keys}) as place from features.{table}"
            return connection.execute(f"{spread} order by place").fetchall()

        products = ask("product_id", "feat_price_elasticity")
        clients = ask("client_id", "feat_client")
        pairs = ask("client_id, product_id", "feat_client_product")
    return {
        "forecast_v1": [{"product_id": product, "day": day} for product, _ in products],
        "churn_v1": [{"client_id": client} for client, _ in clients],
        "recommend_v1": [
            {"client_id": client, "product_id": product} for client, product, _ in pairs
        ],
    }


def _answers(
    settings: Settings, opened: Opened, service: str, keys: Sequence[Mapping[str, Any]]
) -> tuple[float, float]:
    took = []
    for number in range(size("BENCH_READS", 2_000)):
        key = keys[number % len(keys)]
        took.append(_timed(lambda key=key: read.serve(opened, settings, [key], service))[0] * 1000)
    return median(took), quantiles(took, n=100)[-1]


def _history(settings: Settings, service: str, keys: Sequence[Mapping[str, Any]]) -> float:
    frame = pd.DataFrame([keys[number % len(keys)] for number in range(_HISTORY)])
    frame[read.EVENT_TIME] = datetime.fromisoformat("2017-12-01T00:00:00+00:00")
    return _timed(lambda: read.historical(settings, frame, service))[0]
