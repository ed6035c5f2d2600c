"""Landing against a bare JSON parser and against dlt, on the same events, in one run."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from bench.measure import Cost, cpu_s, lakehouse, peak_mib, python, table, wall_s
from bench.sales import TOPIC, capture_sales, sale_lines, write_sales

ROUNDS = 3

PARSER = "bare pysimdjson of line and payload, one core"
OURS = "lakehouse land, one core"
OURS_TWO = "lakehouse land, two cores"
START = "lakehouse land of one event, one core: the start-up"
FILES = "dlt from the same files, by way of Arrow tables, untyped, unmasked, one core"
DICTS = "dlt from the sales of 250 clients, its usual way (dicts), one core"
ARROW = "dlt, handed our parsed and typed rows, one core"

_LINES = """
import sys, pyarrow as pa, simdjson
from pathlib import Path
def lines(folder):
    for path in sorted(Path(folder).glob("*/*.zst")):
        rest = b""
        with pa.input_stream(str(path), compression="detect") as stream:
            while block := stream.read(16 << 20):
                *whole, rest = (rest + block).split(b"\\n")
                yield from whole
"""

_SIMDJSON = (
    _LINES
    + """
n = 0
for line in lines(sys.argv[1]):
    message = simdjson.loads(line)
    if message["payload"] is not None:
        simdjson.loads(message["payload"])
    n += 1
print(n)
"""
)

_DLT_SETTINGS = """
import sys, os
os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["DATA_WRITER__DISABLE_COMPRESSION"] = "true"
os.environ["DESTINATION__FILESYSTEM__BUCKET_URL"] = "file://" + sys.argv[2]
"""

_DLT_FROM_FILES = (
    _DLT_SETTINGS
    + _LINES
    + """
import dlt
as_table = list if sys.argv[3:] == ["dicts"] else pa.Table.from_pylist
def batches():
    rows = []
    for line in lines(sys.argv[1]):
        message = simdjson.loads(line)
        if message["payload"] is not None:
            event = simdjson.loads(message["payload"])
            image = event["after"] or event["before"]
            image["_op"], image["_offset"] = event["op"], message["offset"]
            image["_lsn"] = event["source"]["lsn"]
            rows.append(image)
        if len(rows) == 100_000:
            yield as_table(rows)
            rows = []
    yield as_table(rows)
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
        events_folder = capture_sales(folder, "all")
        few = capture_sales(folder, "250")
        one = write_sales(sale_lines(folder, 1), folder / "one")
        arrow, arrow_lake = folder / "sale.parquet", folder / f"lake-0-{events_folder.name}-1"
        costs: dict[str, list[Cost]] = {
            name: [] for name in (PARSER, OURS, OURS_TWO, START, FILES, DICTS, ARROW)
        }
        peers = (
            (FILES, _DLT_FROM_FILES, events_folder),
            (DICTS, _DLT_FROM_FILES, few),
            (ARROW, _DLT, arrow),
        )
        for turn in range(ROUNDS):
            costs[PARSER].append(python(_SIMDJSON, str(events_folder), cpus=1))
            for name, given, cpus in (
                (OURS, events_folder, 1), (OURS_TWO, events_folder, 2), (START, one, 1)
            ):  # fmt: skip
                home = folder / f"lake-{turn}-{given.name}-{cpus}"
                costs[name].append(lakehouse("land", "--from", str(given), home=home, cpus=cpus))
            if not arrow.exists():
                python(_DLT_PREPARE, str(arrow_lake / "raw" / TOPIC), str(arrow))
            for name, code, given in peers:
                place = Path(tempfile.mkdtemp(dir=folder))
                way = ["dicts"] if name == DICTS else []
                costs[name].append(python(code, str(given), str(place), *way, cpus=1))
                shutil.rmtree(place)
        events = int(costs[PARSER][0].stdout)
        fewer = int(python(_SIMDJSON, str(few)).stdout)
        counts = {DICTS: fewer, START: 1}
        rate = events / wall_s(costs[PARSER])
        rows = [
            _row(name, measured, counts.get(name, events), rate) for name, measured in costs.items()
        ]
        header = ["what", "wall s", "CPU s", "events/s", "time against pysimdjson", "peak MiB"]
        table(f"Landing {events:,} sale events (whole processes)", header, rows)
        ours = wall_s(costs[OURS])
        whole, load = (wall_s(costs[name]) / ours for name in (FILES, ARROW))
        steady = (ours - wall_s(costs[START])) / wall_s(costs[PARSER])
        print(f"\nWithout its start-up, ours takes {steady:.2f} times the bare parser's time.")
        print(
            f"On one core, dlt takes {whole:.1f} times our wall time from the same files; "
            f"{load:.1f} times where it is handed what our landing parsed and typed."
        )
    finally:
        shutil.rmtree(folder)


def _row(name: str, costs: list[Cost], events: int, parser_rate: float) -> list[object]:
    rate = events / wall_s(costs)
    compared: list[object] = ["", ""] if name == START else [f"{rate:,.0f}", parser_rate / rate]
    return [name, wall_s(costs), cpu_s(costs), *compared, f"{peak_mib(costs):,.0f}"]
