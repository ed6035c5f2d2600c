"""Dashboards on the lake that LAKEHOUSE_HOME names: pages in Chromium, and their queries.

The lake is published already: `lakehouse demo --clients all` makes the whole shop's.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.measure import judged, table
from pipelines.dashboards.assets import Dashboard, read
from pipelines.dashboards.client import Superset
from pipelines.settings import Settings
from tests.dashboard_page import Reader, chromium, reading_as
from tests.stack.native.loopback import LOOPBACK, free_ports

_FIRST_S, _ALL_S, _QUERY_S = 4.0, 8.0, 1.0
_TIMES = 3


@dataclass(frozen=True)
class Opened:
    """One look at a page, with an empty cache of the browser.

    Attributes:
        first: seconds until the first chart is drawn.
        whole: until all are.
        queries: what the charts have asked, and by which chart.
    """

    first: float
    whole: float
    queries: dict[str, Any]


def main() -> None:
    """Print seconds of pages and queries; Superset keeps answers a minute, and is asked anew."""
    settings = Settings()
    with _superset(settings) as (url, password):
        pages, queries = [], []
        admin = Superset(url, "admin", password)
        titles = {
            str(each["id"]): each["slice_name"] for each in admin.all("chart", ["id", "slice_name"])
        }
        with chromium() as browser:
            for name, dashboard in read(settings.dashboards_dir).dashboards.items():
                looks = []
                for _ in range(_TIMES):
                    with reading_as(browser, url, "admin", password) as reader:
                        looks.append(_open(reader, name, dashboard))
                first = statistics.median(look.first for look in looks)
                whole = statistics.median(look.whole for look in looks)
                charts = sum(len(row.charts) for row in dashboard.rows)
                pages.append(
                    [dashboard.title, charts, judged(first, _FIRST_S), judged(whole, _ALL_S)]
                )
                took = {c: _asked(admin, query) for c, query in looks[0].queries.items()}
                slowest = max(took, key=lambda chart: took[chart])
                queries.append([
                    dashboard.title, len(took), statistics.median(took.values()),
                    judged(took[slowest], _QUERY_S), titles[slowest],
                ])  # fmt: skip
    table("Pages, median of three", ["dashboard", "charts", "first chart s", "all s"], pages)
    table(
        "Queries one at a time, uncached, median of three each",
        ["dashboard", "queries", "median s", "slowest s", "of"],
        queries,
    )


@contextmanager
def _superset(settings: Settings) -> Iterator[tuple[str, str]]:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "pipelines.cli", "dashboards", "up", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if not any("Ctrl-C" in line for line in process.stdout):
                sys.exit("Superset did not start: see above")
            password = (settings.home / "dashboards" / "password").read_text(encoding="utf-8")
            yield f"http://{LOOPBACK}:{port}", password
        finally:
            process.terminate()


def _open(reader: Reader, name: str, dashboard: Dashboard) -> Opened:
    asked: dict[str, Any] = {}

    def note(request: Any) -> None:
        if request.method == "POST" and "/chart/data" in request.url:
            content = request.post_data_json
            # A filter asks, too, and is no chart.
            if chart := content["form_data"].get("slice_id"):
                asked[str(chart)] = content

    reader.page.on("request", note)
    begun = time.perf_counter()
    charts = sum(len(row.charts) for row in dashboard.rows)
    slug = name.replace("_", "-")
    reader.page.goto(f"{reader.url}/superset/dashboard/{slug}/", wait_until="commit")
    reader.page.wait_for_selector('[data-test="slice-container"]', timeout=120_000)
    first = time.perf_counter() - begun
    reader.wait(charts)
    whole = time.perf_counter() - begun
    if reader.failed():
        sys.exit(f"{dashboard.title}: {reader.failed()}")
    return Opened(first, whole, asked)


def _asked(admin: Superset, query: Any) -> float:
    took = []
    for _ in range(_TIMES):
        begun = time.perf_counter()
        admin.call("POST", "chart/data", json=query | {"force": True})
        took.append(time.perf_counter() - begun)
    return statistics.median(took)
