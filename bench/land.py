"""Landing against a bare JSON parser and against dlt, on the same events, in one run."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path

from bench.measure import Cost, lakehouse, python, table
from pipelines.demo.shop import capture

ROUNDS = 3
TOPIC = "shop.public.sale"

_SIMDJSON = """
import sys, pyarrow as pa, simdjson
from pathlib import Path
n = 0
for path in sorted(Path(sys.argv[1]).glob("*/*.zst")):
    with pa.input_stream(str(path), compression="detect") as stream:
        text = stream.read()
    for line in text.splitlines():
        message = simdjson.loads(line)
        if message["payload"] is not None:
            simdjson.loads(message["payload"])
        n += 1
print(n)
"""

_DLT_SETTINGS = """
import sys, os
os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["DATA_WRITER__DISABLE_COMPRESSION"] = "true"
os.environ["DESTINATION__FILESYSTEM__BUCKET_URL"] = "file://" + sys.argv[2]
"""

_DLT_FROM_FILES = (
    _DLT_SETTINGS
    + """
import dlt, pyarrow as pa, simdjson
from pathlib import Path
def batches():
    rows = []
    for path in sorted(Path(sys.argv[1]).glob("*/*.zst")):
        with pa.input_stream(str(path), compression="detect") as stream:
            text = stream.read()
        for line in text.splitlines():
            message = simdjson.loads(line)
            if message["payload"] is not None:
                event = simdjson.loads(message["payload"])
                image = event["after"] or event["before"]
                image["_op"], image["_offset"] = event["op"], message["offset"]
                image["_lsn"] = event["source"]["lsn"]
                rows.append(image)
            if len(rows) == 100_000:
                yield pa.Table.from_pylist(rows)
                rows = []
    yield pa.Table.from_pylist(rows)
pipeline = dlt.pipeline("bench", destination="filesystem", dataset_name="raw",
                        pipelines_dir=sys.argv[2] + "/state")
pipeline.run(dlt.resource(batches, name="sale"), table_format="delta")
"""
)

# Here dlt gets what costs most for free: the events as Arrow tables, already parsed and typed.
_DLT_PREPARE = """
import sys, pyarrow as pa, pyarrow.parquet as pq
from deltalake import DeltaTable
table = DeltaTable(sys.argv[1]).to_pyarrow_table()
pq.write_table(table.drop_columns(["_unavailable"]), sys.argv[2])
"""
_DLT = (
    _DLT_SETTINGS
    + """
import dlt, pyarrow.parquet as pq
def batches():
    for batch in pq.ParquetFile(sys.argv[1]).iter_batches(100_000):
        yield batch
pipeline = dlt.pipeline("bench", destination="filesystem", dataset_name="raw",
                        pipelines_dir=sys.argv[2] + "/state")
pipeline.run(dlt.resource(batches, name="sale"), table_format="delta")
"""
)


def main() -> None:
    """Print rates and ratios; each figure is the median of its rounds, taken in turn."""
    folder = Path(tempfile.mkdtemp(prefix="bench-land-"))
    try:
        capture(folder / "all")
        events_folder = folder / "capture"
        events_folder.mkdir()
        (folder / "all" / TOPIC).rename(events_folder / TOPIC)
        ours: list[Cost] = []
        ours_one: list[Cost] = []
        parser: list[Cost] = []
        dlt: list[Cost] = []
        dlt_whole: list[Cost] = []
        arrow = folder / "sale.parquet"
        for turn in range(ROUNDS):
            parser.append(python(_SIMDJSON, str(events_folder)))
            for cpus, costs in ((2, ours), (1, ours_one)):
                home = folder / f"lake-{turn}-{cpus}"
                costs.append(lakehouse("land", "--from", str(events_folder), home=home, cpus=cpus))
            if not arrow.exists():
                python(_DLT_PREPARE, str(folder / "lake-0-2" / "raw" / TOPIC), str(arrow))
            dlt.append(python(_DLT, str(arrow), str(folder / f"dlt-{turn}")))
            place = str(folder / f"dlt-whole-{turn}")
            dlt_whole.append(python(_DLT_FROM_FILES, str(events_folder), place))
        events = int(parser[0].stdout)
        base = statistics.median(cost.cpu_s for cost in parser)
        rows = [
            _row(name, costs, events, base)
            for name, costs in (
                ("bare pysimdjson of line and payload", parser),
                ("lakehouse land, 1 thread", ours_one),
                ("lakehouse land, 2 threads", ours),
                ("dlt from the same files, untyped, unmasked", dlt_whole),
                ("dlt, handed our parsed and typed Arrow tables", dlt),
            )
        ]
        header = ["what", "wall s", "CPU s", "events/s", "CPU against pysimdjson", "peak MiB"]
        table(f"Landing {events:,} sale events (whole processes)", header, rows)
        print(
            f"\nFrom the same files dlt takes {_wall(dlt_whole) / _wall(ours):.1f} times our wall "
            f"time; its load alone {_wall(dlt) / _wall(ours):.1f} times."
        )
    finally:
        shutil.rmtree(folder)


def _wall(costs: list[Cost]) -> float:
    return statistics.median(cost.wall_s for cost in costs)


def _cpu(costs: list[Cost]) -> float:
    return statistics.median(cost.cpu_s for cost in costs)


def _row(name: str, costs: list[Cost], events: int, base: float) -> list[object]:
    peak = max(cost.peak_mib for cost in costs)
    wall = _wall(costs)
    return [name, wall, _cpu(costs), f"{events / wall:,.0f}", _cpu(costs) / base, f"{peak:,.0f}"]
