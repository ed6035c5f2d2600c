"""What `make stack-status` tells of a process."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.stack.native.processes import memory

MEGABYTES = 64
# As PostgreSQL does: a child that leads a session of its own.
CHILD = (
    "import os, sys; os.setsid(); "
    f"kept = os.urandom({MEGABYTES} << 20); print('ready', flush=True); sys.stdin.read()"
)
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"


def test_the_memory_of_a_process_is_that_of_its_children_too() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        taken = memory(process.pid)
        process.communicate("")
    assert MEGABYTES < taken >> 20 < 3 * MEGABYTES
    assert memory(process.pid) == 0
    assert memory(os.getpid()) > 0
