"""Spark's landing gives what `lakehouse land` gives, and they take turns on one lake."""

from __future__ import annotations

import json
import random
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from deltalake import DeltaTable, write_deltalake

from pipelines.cdc.masking import Masker
from pipelines.lake.duck import connect
from pipelines.lake.writer import SPARK, hand_over, writer_of
from pipelines.lineage import store
from pipelines.settings import Settings, load_settings
from tests.stack.native.components import Components
from tests.stack.native.loopback import LOOPBACK
from tests.stack.native.stack import Stack
from tests.stack.submit import finished, submit
from tests.stack.test_s3 import KEY, done, lakehouse

TOPICS = ("shop.public.client", "shop.public.order_item")
DAYS = ("2017-01-01", "2017-01-12", "2017-01-20", "2017-01-28", "2017-02-02")
CLIENTS = "12"
# A message now and then that is cut off.
BAD = 97
_PLACE = [("_partition", "ascending"), ("_offset", "ascending")]


@pytest.fixture(scope="module")
def kafka(components: Components) -> Iterator[str]:
    """A broker of its own, where the shop's topics are not the connector's."""
    folder = Path(tempfile.mkdtemp(prefix="lakehouse-spark-"))
    broker = Stack(folder, components)
    try:
        broker.up(["kafka"])
        yield f"{LOOPBACK}:{broker.port('kafka', 19092)}"
    finally:
        broker.down()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def deliveries(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Slices of the shop's log."""
    folder = tmp_path_factory.mktemp("deliveries")
    slices = []
    for start, until in pairwise(DAYS):
        slices.append(folder / start)
        done(lakehouse(folder / "lake", {}, "shop", "capture", "--to", str(slices[-1]),
                       "--clients", CLIENTS, "--from", start, "--until", until))  # fmt: skip
    return slices


def deliver(bootstrap: str, folder: Path) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    there = set(admin.list_topics(timeout=10).topics)
    new = [NewTopic(topic, 3, 1) for topic in TOPICS if topic not in there]
    if new:
        for made in admin.create_topics(new).values():
            made.result()
    producer = Producer({"bootstrap.servers": bootstrap})
    for topic in TOPICS:
        for file in sorted((folder / topic).glob("*.jsonl*")):
            for text in pa.input_stream(str(file)).read().decode().splitlines():
                message = json.loads(text)
                payload: str | None = message["payload"]
                if payload and message["offset"] % BAD == BAD - 1:
                    payload = payload[:60]
                headers = message.get("headers") or []
                producer.produce(
                    topic,
                    payload and payload.encode(),
                    message["key"],
                    partition=message["partition"],
                    headers=list(zip(headers[::2], headers[1::2], strict=True)),
                )
    assert producer.flush(60) == 0


class Lake:
    """A lake on the store."""

    def __init__(self, home: Path, variables: Mapping[str, str]) -> None:
        self.home = home
        self.variables = {**variables, **KEY}

    def run(self, *arguments: str) -> Any:
        return lakehouse(self.home, self.variables, *arguments)

    def settings(self, monkeypatch: pytest.MonkeyPatch) -> Settings:
        for name, value in self.variables.items():
            monkeypatch.setenv(name, value)
        return load_settings(self.home)

    def told(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
        """Counted rows of each raw table, sums of the ledger, and dead letters, opened."""
        settings = self.settings(monkeypatch)
        masker = Masker(KEY["LAKEHOUSE_PII_KEY"].encode())
        with connect(settings) as connection:
            ledger = f"delta_scan('{settings.raw}/_ledger')"
            found = {topic: self._rows(connection, settings, topic, ledger) for topic in TOPICS}
            found["ledger"] = connection.execute(
                f"""select topic, partition, min(first_offset), max(last_offset), sum(consumed),
                        sum(landed), sum(truncate), sum(dead), sum(tombstone),
                        max(newest_source_ts), max(reached_position), max(reached_at)
                    from {ledger} where partition is not null group by all order by all"""
            ).fetchall()
            letters = connection.execute(
                f"""select letter_id, topic, partition, "offset", source_file, reason_code, reason,
                        contract_version, epoch, sealed_line
                    from delta_scan('{settings.raw}/_dead_letters') order by letter_id"""
            ).fetchall()
        found["letters"] = [(*row[:-1], masker.unseal(row[-1])) for row in letters]
        return found

    @staticmethod
    def _rows(
        connection: duckdb.DuckDBPyConnection, settings: Settings, topic: str, ledger: str
    ) -> list[Any]:
        return connection.execute(
            f"""select * exclude (_batch_id, _landed_at) from delta_scan('{settings.raw / topic}')
                where _batch_id in (select batch_id from {ledger})
                order by _partition, _offset"""
        ).fetchall()

    def stored_rows(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
        """Rows of each raw table, counted in the ledger or not."""
        settings = self.settings(monkeypatch)
        with connect(settings) as connection:
            return {
                topic: connection.execute(
                    f"select count(*) from delta_scan('{settings.raw / topic}')"
                ).fetchall()[0][0]
                for topic in TOPICS
            }


def test_spark_goes_on_where_the_lake_is_and_lands_the_same(
    components: Components,
    stack: Stack,
    kafka: str,
    deliveries: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = Lake(tmp_path / "expected", stack.s3().lake("landed"))
    lake = Lake(tmp_path / "lake", stack.s3().lake("sparked"))

    def spark(script: str = "spark_jobs/land_cdc.py") -> Any:
        arguments = ("--kafka", kafka, "--home", str(lake.home), "--batch-rows", "400")
        return submit(components, script, lake.variables, *arguments)

    # Begun by one engine, handed over to the other.
    deliver(kafka, deliveries[0])
    done(lake.run("land", "--kafka", kafka))
    done(lake.run("hand-over", "spark"))
    refused = lake.run("land", "--kafka", kafka)
    assert refused.returncode == 1
    assert "written by spark, and by one engine" in refused.stderr

    # Killed between its commits: nothing of that batch counts, and nothing of it comes twice.
    deliver(kafka, deliveries[1])
    before = lake.stored_rows(monkeypatch)
    killed = spark("tests/stack/spark_killed.py")
    assert killed.returncode == -signal.SIGKILL, killed.stdout[-4000:]
    assert lake.stored_rows(monkeypatch) != before
    finished(spark())
    told = lake.told(monkeypatch)
    assert {topic: len(told[topic]) for topic in TOPICS} == lake.stored_rows(monkeypatch)

    # Without its checkpoints it begins where the ledger ends.
    deliver(kafka, deliveries[2])
    settings = lake.settings(monkeypatch)
    checkpoints: Any = settings.shared / "checkpoints"
    checkpoints.fs.rm(checkpoints.path, recursive=True)
    assert "topic" in finished(spark())
    events = list(store.events(lake.settings(monkeypatch)))
    last = [e["run"]["runId"] for e in events if e["job"]["name"] == "spark land_cdc"][-1]
    by_spark = [e for e in events if str(e["run"]["facets"].get("parent")).count(last)]
    assert {f"land.{topic}" for topic in TOPICS} <= {e["job"]["name"] for e in by_spark}
    done(lake.run("hand-over", "lakehouse"))
    again = json.loads(done(lake.run("land", "--kafka", kafka, "--json")))
    assert sum(topic["landed"] + topic["dead"] for topic in again.values()) == 0
    deliver(kafka, deliveries[3])
    done(lake.run("land", "--kafka", kafka))

    done(expected.run("land", "--kafka", kafka))
    told, by_one = lake.told(monkeypatch), expected.told(monkeypatch)
    assert all(by_one.values())
    assert told == by_one


def test_spark_maintains_its_own_tables_only(
    components: Components, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path / "lake", {})
    for day in ("2017-01-02", "2017-01-03", "2017-01-04"):
        done(lake.run("shop", "capture", "--to", str(tmp_path / "events"), "--clients", "3",
                      "--from", day, "--until", f"{day[:-1]}{int(day[-1]) + 1}"))  # fmt: skip
        done(lake.run("land", "--from", str(tmp_path / "events")))
    own = lake.settings(monkeypatch).raw / "shop.public.sale"
    hand_over([own], SPARK)
    before = DeltaTable(str(own))
    # A checkpoint of Spark, which other readers must be able to read.
    before.alter.set_table_properties({"delta.checkpointInterval": "1"})
    rows = before.to_pyarrow_table().sort_by(_PLACE)
    assert len(before.file_uris()) > 1
    told = finished(
        submit(components, "spark_jobs/maintain.py", lake.variables, "--home", str(lake.home),
               "--z-order", "sale_id", "--keep-hours", "1", "--force",
               "raw.shop_public_sale", "raw.shop_public_order")
    )  # fmt: skip
    assert "lakehouse writes it" in told
    after = DeltaTable(str(own))
    assert len(after.file_uris()) == 1
    assert list((own / "_delta_log").glob("*.checkpoint*.parquet"))
    assert after.to_pyarrow_table().sort_by(_PLACE) == rows
    with connect(lake.settings(monkeypatch)) as connection:
        scan = f"delta_scan('{own}')"
        assert (
            connection.execute(f"from {scan} order by _partition, _offset")
            .to_arrow_table()
            .cast(rows.schema)
            == rows.combine_chunks()
        )


def test_the_interaction_matrix_is_what_sql_computes(
    components: Components, tmp_path: Path
) -> None:
    chance = random.Random(5)
    days = [date(2017, 1, 1) + timedelta(days=n) for n in range(200)]
    sales = pa.table(
        {
            "client_id": [chance.choice([-1, None, *range(1, 40)]) for _ in range(3_000)],
            "product_id": [chance.randrange(60) for _ in range(3_000)],
            "sale_date": [chance.choice(days) for _ in range(3_000)],
            "quantity": [chance.randrange(1, 9) for _ in range(3_000)],
            "net_amount": pa.array(
                [Decimal(chance.randrange(10_000)) / 100 for _ in range(3_000)],
                pa.decimal128(18, 2),
            ),
        }
    )
    write_deltalake(tmp_path / "sales", sales)
    matrix = tmp_path / "matrix"
    told = finished(
        submit(components, "spark_jobs/build_interactions.py", {}, "--sales",
               str(tmp_path / "sales"), "--to", str(matrix), "--as-of", "2017-06-01",
               "--half-life-days", "30")
    )  # fmt: skip
    expected = duckdb.sql(
        """select client_id, product_id, count(*) as sale_count, sum(quantity)::bigint as quantity,
            sum(net_amount) as net_amount, min(sale_date) as first_sale_date,
            max(sale_date) as last_sale_date,
            sum(quantity * pow(0.5, (date '2017-06-01' - sale_date) / 30.0)) as weight,
            sum(pow(0.5, (date '2017-06-01' - sale_date) / 30.0)) as decayed_count,
            date '2017-06-01' as as_of_date
        from sales where client_id <> -1 and sale_date < date '2017-06-01' group by all
        order by all"""
    ).fetchall()
    built = DeltaTable(str(matrix))
    pairs = built.to_pyarrow_table().sort_by(
        [("client_id", "ascending"), ("product_id", "ascending")]
    )
    rows = [tuple(row.values()) for row in pairs.to_pylist()]
    assert f"{len(expected):,} pairs" in told
    assert [(*row[:-3], row[-1]) for row in rows] == [(*row[:-3], row[-1]) for row in expected]
    for place in (-3, -2):
        sums = [row[place] for row in expected]
        assert [row[place] for row in rows] == pytest.approx(sums, rel=1e-9)
    assert writer_of(built) == SPARK
