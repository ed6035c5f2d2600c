"""The inspector in a process of its own: its library is imported beside the run, in seconds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from pipelines.errors import LakehouseError, Unavailable
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.quality.results import GateReport
    from pipelines.quality.suites import Gate, Suite


class Inspection:
    """Asks an `Inspector` in another process; ends with this one, however this one ends.

    Args:
        settings: of the target whose tables are checked.
    """

    def __init__(self, settings: Settings) -> None:
        self._pipe, theirs = Pipe()
        # Not by multiprocessing: its children begin with the main module of their parent.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.PIPE,
        )
        theirs.close()
        self._pipe.send(settings)
        self._waits_for_docs = False

    def check(self, gate: Gate, suites: Sequence[Suite]) -> GateReport:
        """As `Inspector.check`; lets go of the warehouse afterwards.

        Raises:
            LakehouseError: a rule cannot be checked.
            Unavailable: the warehouse is away, or the process has ended before it could answer.
        """
        self._ask("check", gate, suites)
        report: GateReport = self._answer()
        return report

    def write_docs(self, folder: Path) -> None:
        """As `Inspector.write_docs`, while this process goes on; `close` waits for its end."""
        self._ask("write_docs", folder)
        self._waits_for_docs = True

    def close(self) -> None:
        """Wait for what is still written, and end the process.

        Raises:
            OSError: the pages could not be written.
        """
        try:
            self._await_docs()
        finally:
            # The end of its input ends it at once.
            self._process.communicate()
            self._pipe.close()

    def _await_docs(self) -> None:
        if self._waits_for_docs:
            self._waits_for_docs = False
            self._answer()

    def _ask(self, *question: Any) -> None:
        self._await_docs()
        try:
            self._pipe.send(question)
        except BrokenPipeError:
            raise self._ended() from None

    def _answer(self) -> Any:
        try:
            error, told = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            raise self._ended() from None
        if error is not None:
            raise error from (RuntimeError(told) if told else None)
        return told

    def _ended(self) -> LakehouseError:
        code = self._process.wait()
        return Unavailable(
            f"the process that checks has ended, with exit code {code}, before it could answer",
            "see what it printed; if it was killed, for memory perhaps, run again with more of it",
        )


def _serve(pipe: Connection) -> None:
    """Answer until the one who asks is gone."""
    # Whoever interrupts the run ends this process by that.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    settings: Settings = pipe.recv()
    # Seconds to import: the reason for this process.
    from pipelines.quality.gate import Inspector
    from pipelines.quality.warehouse import warehouse

    inspector = Inspector(warehouse(settings))
    while True:
        try:
            what, *arguments = pipe.recv()
        except EOFError:
            return
        answer: tuple[Exception | None, Any]
        try:
            answer = (None, getattr(inspector, what)(*arguments))
        except (LakehouseError, OSError) as error:
            answer = (error, None)
        except Exception as error:
            answer = (RuntimeError(f"{type(error).__name__}: {error}"), traceback.format_exc())
        finally:
            inspector.close()
        pipe.send(answer)


def _end_with_parent() -> None:
    """End at once: a check that goes on would keep the warehouse from the run that comes next."""
    # Not by `sys.stdin`, whose lock would be held when this process ends by itself.
    os.read(0, 1)
    os._exit(0)


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
