"""Sale events of the demo shop as capture files, for benches that cut or change them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from bench.measure import lakehouse

TOPIC = "shop.public.sale"
HOUSEHOLDS = 2_469
# A household has about 590 of them in the shop's year; few households may have less.
_SALES_A_CLIENT = 400
_FEW = 20


def capture_sales(folder: Path, clients: str) -> Path:
    """Write a capture folder below `folder` that holds the sales of so many clients."""
    whole, sales = folder / f"whole-{clients}", folder / f"sales-{clients}"
    command = ("shop", "capture", "--to", str(whole), "--clients", clients)
    lakehouse(*command, home=folder / "none")
    sales.mkdir()
    (whole / TOPIC).rename(sales / TOPIC)
    shutil.rmtree(whole)
    return sales


def sale_lines(folder: Path, count: int) -> Iterator[bytes]:
    """The shop's first so many sale messages in the order of its log, captured below `folder`."""
    clients = str(min(count // _SALES_A_CLIENT + _FEW, HOUSEHOLDS))
    (path,) = (capture_sales(folder, clients) / TOPIC).iterdir()
    left, rest = count, b""
    with pa.input_stream(str(path), compression="detect") as stream:
        while block := stream.read(16 << 20):
            *whole, rest = (rest + block).split(b"\n")
            yield from whole[:left]
            left -= len(whole)
            if left <= 0:
                return
    sys.exit(f"the shop has {count - left:,} sale messages, not {count:,}: ask for fewer")


def write_sales(lines: Iterable[bytes], folder: Path) -> Path:
    """Write messages as the only file of a capture folder; returns the folder."""
    path = folder / TOPIC / "sales.jsonl.zst"
    path.parent.mkdir(parents=True)
    with pa.output_stream(str(path), compression="zstd") as stream:
        for line in lines:
            stream.write(line + b"\n")
    return folder
