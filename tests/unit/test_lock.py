"""The lock of a lake: one run at a time, named to whoever must wait, never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

from pipelines.lake import lock

HOLDER = """
import sys, time
from pathlib import Path
from pipelines.lake import lock
with lock.exclusive(Path(sys.argv[1]), "lakehouse run"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused_naming_pid_command_and_start(tmp_path: Path) -> None:
    with (
        lock.exclusive(tmp_path / "state", "lakehouse run"),
        pytest.raises(lock.Busy) as caught,
        lock.exclusive(tmp_path / "state", "lakehouse demo", wait_seconds=0),
    ):
        pass
    cause = caught.value.cause
    assert cause.startswith(f"lakehouse run is running in {tmp_path} (pid {os.getpid()}, since ")
    datetime.fromisoformat(cause.split("since ")[1].rstrip(")"))
    assert "wait until it has ended" in caught.value.remedy


def test_the_owner_is_told_while_a_run_is_on_and_nobody_after(tmp_path: Path) -> None:
    assert lock.owner(tmp_path) is None
    with lock.exclusive(tmp_path, "lakehouse run"):
        found = lock.owner(tmp_path)
        assert found is not None
        assert (int(found["pid"]), found["command"]) == (os.getpid(), "lakehouse run")
    assert lock.owner(tmp_path) is None


def test_the_lock_is_free_after_a_run_that_failed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock.exclusive(tmp_path, "lakehouse run"):
        raise ZeroDivisionError
    with lock.exclusive(tmp_path, "lakehouse run", wait_seconds=0):
        pass


def test_readers_do_not_exclude_each_other(tmp_path: Path) -> None:
    with lock.shared(tmp_path), lock.shared(tmp_path):
        assert lock.owner(tmp_path) is None


def test_a_reader_keeps_a_run_away_and_a_run_keeps_readers_away(tmp_path: Path) -> None:
    with (
        lock.shared(tmp_path),
        pytest.raises(lock.Busy, match="pid unknown"),
        lock.exclusive(tmp_path, "lakehouse run", wait_seconds=0),
    ):
        pass
    with (
        lock.exclusive(tmp_path, "lakehouse run"),
        pytest.raises(lock.Busy, match="lakehouse run is running"),
        lock.shared(tmp_path),
    ):
        pass


def test_a_run_waits_for_a_short_reader(tmp_path: Path) -> None:
    reading, done = threading.Event(), threading.Event()

    def read() -> None:
        with lock.shared(tmp_path):
            reading.set()
            done.wait(10)

    reader = threading.Thread(target=read)
    reader.start()
    reading.wait(10)
    threading.Timer(0.3, done.set).start()
    with lock.exclusive(tmp_path, "lakehouse run", wait_seconds=10):
        assert done.is_set()
    reader.join()


def test_the_lock_is_free_once_its_holder_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(lock.Busy, match=f"pid {holder.pid}"),
            lock.exclusive(tmp_path, "lakehouse run", wait_seconds=0),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    started = time.monotonic()
    assert lock.owner(tmp_path) is None
    with (
        lock.shared(tmp_path),
        # The name that the killed run left behind is not that of the reader.
        pytest.raises(lock.Busy, match="pid unknown"),
        lock.exclusive(tmp_path, "lakehouse run", wait_seconds=0),
    ):
        pass
    with lock.exclusive(tmp_path, "lakehouse run", wait_seconds=0):
        pass
    assert time.monotonic() - started < 5
