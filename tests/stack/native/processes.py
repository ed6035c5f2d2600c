"""Processes that end as a whole: each leads a group, and keeps a log."""

from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_TAIL = 2_000
_POLL_SECONDS = 0.2


class Failed(Exception):
    """A service ended or did not become ready; tells the end of its log."""


class Process:
    """A running command, with its output in a file."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.log = log
        self._stop_signal = stop_signal
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user,
                group=pwd.getpwnam(user).pw_gid if user else None,
                extra_groups=[] if user else None,
                cwd="/",
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def ended(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._popen.poll()

    def wait(self, seconds: float) -> int:
        """Its exit code, once it has ended.

        Raises:
            Failed: it has not ended in time, and was killed.
        """
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"{self._popen.args} goes on and on:\n{self.told()}") from None

    def kill(self) -> None:
        """End the whole group at once, as a power cut would."""
        self._signal(signal.SIGKILL)
        self._popen.wait(30)

    def stop(self, seconds: float = 20) -> None:
        """Ask to end, then insist; nothing of the group is left."""
        if self.ended() is None:
            self._popen.send_signal(self._stop_signal)
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(seconds)
        self._signal(signal.SIGKILL)
        self._popen.wait(30)

    def told(self) -> str:
        """The end of the log."""
        return self.log.read_bytes()[-_TAIL:].decode(errors="replace")

    def _signal(self, number: signal.Signals) -> None:
        # The whole group may have ended.
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, number)


def memory(pid: int) -> int:
    """Bytes that a process and those that it started take, what they share counted once."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        # Any of them may end meanwhile.
        with suppress(ProcessLookupError, FileNotFoundError):
            # The name, in parentheses, may hold anything.
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    kilobytes, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        waiting += children.get(one, [])
        with suppress(ProcessLookupError, FileNotFoundError, PermissionError):
            told = Path(f"/proc/{one}/smaps_rollup").read_text()
            kilobytes += sum(int(n) for n in re.findall(r"^Pss: +(\d+) kB", told, re.MULTILINE))
    return kilobytes * 1024


def eventually(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition comes true in time; it is asked again and again."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
