"""A topic landed by `lakehouse land` and by Spark Structured Streaming, one after the other."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from itertools import islice
from pathlib import Path

import pyarrow as pa
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from deltalake import DeltaTable

from bench.follow import committed_at
from bench.measure import size, table
from bench.processes import TreeCost, run_session
from bench.sales import TOPIC, sale_lines, write_sales
from pipelines.cdc import ledger
from tests.stack.native.components import REPOSITORY, Components, install
from tests.stack.native.loopback import LOOPBACK
from tests.stack.native.stack import Stack

PARTITIONS = 4
CORES = 2
_ROUNDS = 2
HEADER = ["what", "wall s", "CPU s", "rows/s", "rows/s per core-second", "peak MiB", "first row s"]


def main() -> None:
    """Print rows a second and per core, memory, and the time to the first row.

    Both read a topic of a real broker, to tables on disk, with all of the machine's cores, start-up
    included; Spark's heap is 1 GiB. BENCH_ROWS asks for other numbers than a million events.
    """
    count = size("BENCH_ROWS", 1_000_000)
    folder = Path(tempfile.mkdtemp(prefix="bench-spark-"))
    components = install()
    broker = Stack(folder / "stack", components)
    (folder / "stack").mkdir()
    try:
        broker.up(["kafka"])
        bootstrap = f"{LOOPBACK}:{broker.port('kafka', 19092)}"
        _produce(folder, bootstrap, count)
        rows = []
        for number in range(_ROUNDS):
            rows.append(_ours(folder / f"ours-{number}", bootstrap, count))
            rows.append(_sparks(folder / f"spark-{number}", bootstrap, count, components))
        table(f"{count:,} sale events from Kafka, {PARTITIONS} partitions", HEADER, rows)
    finally:
        broker.down()
        shutil.rmtree(folder)


def _produce(folder: Path, bootstrap: str, count: int) -> None:
    lines = islice(sale_lines(folder, count), count)
    (file,) = (write_sales(lines, folder / "events") / TOPIC).iterdir()
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for made in admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)]).values():
        made.result()
    producer = Producer({"bootstrap.servers": bootstrap, "compression.type": "lz4"})
    with pa.input_stream(str(file), compression="detect") as stream:
        for number, line in enumerate(stream.read().decode().splitlines()):
            message = json.loads(line)
            producer.produce(
                TOPIC, message["payload"], message["key"], partition=number % PARTITIONS
            )
            if number % 1000 == 0:
                producer.poll(0)
    if left := producer.flush(120):
        sys.exit(f"{left} events were not delivered")
    file.unlink()


def _ours(home: Path, bootstrap: str, count: int) -> list[object]:
    cost = run_session(
        [sys.executable, "-m", "pipelines.cli", "--home", str(home), "land", "--kafka", bootstrap,
         "--topics", re.escape(TOPIC)],
        {"LAKEHOUSE_THREADS": str(CORES), "LAKEHOUSE_PII_KEY": "a key for benches alone"},
        REPOSITORY,
    )  # fmt: skip
    return _row("lakehouse land", home, cost, count)


def _sparks(home: Path, bootstrap: str, count: int, components: Components) -> list[object]:
    cost = run_session(
        [str(components.spark / "bin" / "spark-submit"), "--master", f"local[{CORES}]",
         "--driver-memory", "1g", "--driver-class-path", f"{components.spark_jars}/*",
         "--conf", f"spark.sql.shuffle.partitions={CORES}", "--conf", "spark.ui.enabled=false",
         "spark_jobs/land_cdc.py", "--home", str(home), "--kafka", bootstrap,
         "--topics", re.escape(TOPIC)],
        {"SPARK_HOME": str(components.spark), "PYSPARK_PYTHON": sys.executable,
         "SPARK_LOCAL_IP": LOOPBACK, "LAKEHOUSE_PII_KEY": "a key for benches alone"},
        REPOSITORY,
    )  # fmt: skip
    return _row("spark_jobs/land_cdc.py", home, cost, count)


def _row(what: str, home: Path, cost: TreeCost, count: int) -> list[object]:
    raw = home / "raw" / TOPIC
    landed = DeltaTable(str(raw)).count()
    (told,) = ledger.totals(home / "raw").to_pylist()
    if told["consumed"] != count or told["landed"] != landed:
        sys.exit(f"{what}: {landed:,} rows of {count:,} events, and the ledger tells {told}")
    first = min(committed_at(raw, "_batch_id").values()) - cost.began
    shutil.rmtree(home)
    return [
        what, cost.wall_s, cost.cpu_s, f"{landed / cost.wall_s:,.0f}",
        f"{landed / cost.cpu_s:,.0f}", f"{cost.peak_mib:,.0f}", first,
    ]  # fmt: skip
