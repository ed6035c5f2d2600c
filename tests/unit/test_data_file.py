"""Files that somebody brings."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.data_file import read_data_file

ROWS = pa.table({"product_id": ["b", "a", "a"], "quantity": pa.array([3, 1, 2], pa.int64())})


def test_one_table_comes_of_every_kind_of_file(tmp_path: Path) -> None:
    pq.write_table(ROWS, tmp_path / "sales.parquet")
    text = "product_id,quantity\nb,3\na,1\na,2\n"
    (tmp_path / "SALES.CSV").write_text(text)
    (tmp_path / "sales.csv.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("sales.parquet", "SALES.CSV", "sales.csv.gz"):
        assert read_data_file(tmp_path / name).equals(ROWS), name
