"""A disk that fills up in the middle of a landing: a clear error, nothing torn, then go on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from deltalake import DeltaTable

from tests.embedded.conftest import Lakehouse

Mount = Callable[[int], Path]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a file system of so many bytes, or changes its size; returns its folder."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounts = 0

    def mount(size: int) -> Path:
        nonlocal mounts
        options = f"size={size}" if mounts == 0 else f"remount,size={size}"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0 and mounts == 0:
            unfit = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            unfit(f"needs the right to mount: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        mounts += 1
        return disk

    try:
        yield mount
    finally:
        if mounts:
            subprocess.run(["umount", str(disk)], check=True)


def rows_of(home: Path) -> dict[str, int]:
    """Raw table → rows, each table read to its last byte."""
    tables = sorted(path for path in (home / "raw").iterdir() if path.is_dir())
    return {path.name: DeltaTable(str(path)).to_pyarrow_table().num_rows for path in tables}


def test_a_full_disk_tears_nothing_and_the_landing_goes_on(tmp_path: Path, mounted: Mount) -> None:
    capture, ample = tmp_path / "capture", Lakehouse(tmp_path / "ample")
    ample.good("shop", "capture", "--to", str(capture), "--clients", "60")
    ample.good("land", "--from", str(capture))
    expected = rows_of(ample.home)
    needed = sum(path.stat().st_size for path in ample.home.rglob("*") if path.is_file())

    narrow = Lakehouse(mounted(needed // 2) / "lake")
    full = narrow("land", "--from", str(capture))
    assert full.returncode == 1
    assert f"the disk that holds {narrow.home} is full" in full.stderr
    assert "Traceback" not in full.stderr
    landed = rows_of(narrow.home)
    assert 0 < sum(landed.values()) < sum(expected.values()), "the disk filled up on the way"

    mounted(2 * needed + (64 << 20))
    narrow.good("land", "--from", str(capture))
    counted = {name: rows for name, rows in rows_of(narrow.home).items() if name != "_ledger"}
    assert counted == {name: rows for name, rows in expected.items() if name != "_ledger"}
