"""The dbt project built by each engine, and what queries of dashboards take on two of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from statistics import median

from bench.measure import size, table
from pipelines.contract import load_contracts
from pipelines.demo.shop import capture
from pipelines.lake.catalog import reader
from pipelines.lake.publish import Source
from pipelines.lake.publish_on_trino import publish_on_trino
from pipelines.settings import Settings
from tests.stack.conftest import TRINO_USERS
from tests.stack.native.components import install
from tests.stack.native.loopback import LOOPBACK
from tests.stack.native.stack import Stack
from tests.stack.parity import PROJECT, DuckDb, Engine, SparkServer, TrinoServer, dbt

LAKE = "engines"
SERVERS = ("s3", "s3-init", "platform-db", "metastore", "trino-init", "trino", "spark")
NEWS = date(2017, 12, 1)
TURNS = 7
# What dashboards ask: a trend, a ranking, a segmentation, a cohort table, a service level.
QUERIES = {
    "net sales by day and department": """
        select s.sale_date, p.department, sum(s.net_amount) as net_amount
        from marts.mart_sales_daily as s
        inner join marts.dim_product as p on s.product_id = p.product_id and p.is_current
        group by s.sale_date, p.department order by 1, 2""",
    "ten products sold most in a quarter": """
        select p.product_name, sum(s.quantity) as quantity, sum(s.net_amount) as net_amount
        from marts.fct_sale as s
        inner join marts.dim_product as p on s.product_key = p.product_key
        where s.sale_date between date '2017-07-01' and date '2017-09-30'
        group by p.product_name order by 3 desc, 1 limit 10""",
    "clients and money by segment": """
        select segment, count(*) as clients, sum(monetary) as monetary
        from marts.mart_client_rfm group by segment order by 1""",
    "retention of the cohorts": """
        select cohort_month, months_since, retention
        from marts.mart_cohort_analysis order by 1, 2""",
    "late orders by carrier and month": """
        select t.transporter_name, o.order_month, count(*) as orders,
            count(case when o.is_late then 1 end) as late
        from marts.fct_order as o
        inner join marts.dim_transporter as t on o.transporter_id = t.transporter_id
        where o.delivered_at is not null
        group by t.transporter_name, o.order_month order by 1, 2""",
}


def main() -> None:
    """Print seconds of `dbt run` on three engines, and milliseconds of five queries on two.

    All read the same raw tables in an S3 store; servers and client share this machine, and each
    engine builds while the others are idle. DuckDB queries the published Delta tables by the
    manifest, Trino its views, each on a connection that is open. BENCH_CLIENTS asks for another
    number of clients than the demo's 500.
    """
    # PostgreSQL runs as another user, who must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix="bench-engines-"))
    folder.chmod(0o755)
    stack = Stack(folder, install(), is_brief=False)
    try:
        stack.up(SERVERS)
        _measure(folder, stack, size("BENCH_CLIENTS", 500))
    finally:
        stack.down()
        shutil.rmtree(folder)


def _measure(folder: Path, stack: Stack, clients: int) -> None:
    store = stack.s3().lake(LAKE)
    os.environ |= store | {"LAKEHOUSE_PII_KEY": "a key for benches alone"}
    settings = Settings(home=folder / "lake", _env_file=None)
    passwords = {user: stack.secrets[f"TRINO_{user.upper()}_PASSWORD"] for user in TRINO_USERS}
    authority = stack.volume("trino-access") / "ca.pem"
    trino = TrinoServer(
        LOOPBACK, stack.port("trino", 8443), authority, passwords, "lakehouse", store
    )
    spark = SparkServer(LOOPBACK, stack.port("spark", 10000), store)
    engines: list[Engine] = [DuckDb(settings.warehouse), trino, spark]
    seconds: dict[str, list[float]] = {engine.target: [] for engine in engines}
    for number, (start, until) in enumerate(((None, NEWS), (NEWS, None))):
        events = folder / f"events-{number}"
        capture(events, clients=clients, start=start, until=until)
        _lakehouse(settings, "land", "--from", str(events))
        for engine in engines:
            began = time.perf_counter()
            dbt(engine, settings.home, "run")
            seconds[engine.target].append(time.perf_counter() - began)
    duckdb_s = seconds["embedded"]
    rows: list[list[object]] = [
        [name, *took, *(here / there for here, there in zip(took, duckdb_s, strict=True))]
        for name, took in seconds.items()
    ]
    header = ["target", "first build, s", "one more month, s", "first, against DuckDB",
              "month, against DuckDB"]  # fmt: skip
    table(f"dbt run, all models, {clients} clients", header, rows)
    # It publishes what DuckDB has built; what Trino has, is in views.
    _lakehouse(settings, "run", "--from", str(folder / "events-1"))
    built = trino.query("show tables from marts_audit")[1]
    os.environ |= trino.environment
    publish_on_trino(
        Settings(home=settings.home, target="trino", _env_file=None),
        [Source("marts_audit", name) for (name,) in built],
        run_id="bench",
        build_id="bench",
    )
    _query(settings, trino)


def _query(settings: Settings, trino: TrinoServer) -> None:
    rows: list[list[object]] = []
    with reader(settings, load_contracts(PROJECT)) as published:
        session = trino.connection("analyst", trino.passwords["analyst"])
        asked: Mapping[str, Callable[[str], int]] = {
            "DuckDB": lambda sql: len(published.execute(sql).fetchall()),
            "Trino": lambda sql: len(session.cursor().execute(sql).fetchall()),
        }
        for name, sql in QUERIES.items():
            found, row = set(), list[object]([name])
            for ask in asked.values():
                found.add(ask(sql))
                taken = [_milliseconds(ask, sql) for _ in range(TURNS)]
                row += [f"{median(taken):,.0f}", f"{max(taken):,.0f}"]
            if len(found) != 1:
                sys.exit(f"{name}: the engines found {found} rows")
            rows.append([*row, *found])
    header = ["query", "DuckDB, ms", "slowest", "Trino, ms", "slowest", "rows"]
    table(f"Five queries of dashboards, median of {TURNS} after a first", header, rows)


def _milliseconds(ask: Callable[[str], int], sql: str) -> float:
    began = time.perf_counter()
    ask(sql)
    return (time.perf_counter() - began) * 1000


def _lakehouse(settings: Settings, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "--home", str(settings.home), *arguments],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
