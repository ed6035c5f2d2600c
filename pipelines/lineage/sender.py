"""Sends events while the run goes on, and gives up for good at the first that is not taken."""

from __future__ import annotations

import contextvars
import json
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

import structlog

from pipelines.errors import LakehouseError
from pipelines.lineage.events import Event

if TYPE_CHECKING:
    from pipelines.lineage.transports import Transport

log = structlog.get_logger()

# A server that takes each event, but slowly, is waited for this many timeouts at the end of a run.
_PATIENCE = 10
_REMEDY = "start it, or correct LAKEHOUSE_LINEAGE_URL"


class Sender:
    """Sends in a thread of its own, in order.

    Args:
        seconds: for how long one event may be on its way. A server that is dead costs a run no
            more than that, once.
    """

    def __init__(self, transport: Transport, seconds: float) -> None:
        self._transport = transport
        self._seconds = seconds
        self._waiting: deque[Event] = deque()
        self._changed = threading.Condition()
        self._is_closing = False
        self._has_given_up = False
        # When the event that is on its way was sent off, on the monotonic clock.
        self._sent_at: float | None = None
        # What it logs carries the run's id, as all else does.
        context = contextvars.copy_context()
        threading.Thread(
            target=context.run, args=(self._work,), name="lineage", daemon=True
        ).start()

    def send(self, events: Iterable[Event]) -> None:
        """Have events sent; returns at once."""
        with self._changed:
            if not self._has_given_up:
                self._waiting.extend(events)
                self._changed.notify_all()

    def close(self) -> None:
        """Wait for what is on its way, no longer than the server deserves."""
        end = time.monotonic() + _PATIENCE * self._seconds
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            while (self._waiting or self._sent_at is not None) and not self._has_given_up:
                now = time.monotonic()
                since = self._sent_at if self._sent_at is not None else now
                left = min(since + self._seconds, end) - now
                if left > 0:
                    self._changed.wait(left)
                elif now >= end:
                    slow = f"is too slow: {len(self._waiting)} events wait for it"
                    self._give_up(f"{self._transport.name} {slow}")
                else:
                    silent = f"has not answered for {self._seconds:g} s"
                    self._give_up(f"{self._transport.name} {silent}")

    def _work(self) -> None:
        while (event := self._next()) is not None:
            body = json.dumps(event).encode()
            try:
                self._transport.send(body, _key(event))
            except LakehouseError as error:
                with self._changed:
                    self._give_up(error.cause, error.remedy)
            except Exception as error:
                # Whatever it is, the run must not wait for a thread that has died.
                with self._changed:
                    self._give_up(f"{type(error).__name__}: {error}")
            with self._changed:
                self._sent_at = None
                self._changed.notify_all()

    def _next(self) -> Event | None:
        with self._changed:
            while not self._waiting:
                if self._is_closing or self._has_given_up:
                    return None
                self._changed.wait()
            self._sent_at = time.monotonic()
            return self._waiting.popleft()

    def _give_up(self, cause: str, remedy: str = _REMEDY) -> None:
        if self._has_given_up:
            return
        self._has_given_up = True
        self._waiting.clear()
        self._changed.notify_all()
        log.warning(
            "lineage is not sent in this run, which goes on; the lake keeps its events",
            cause=cause,
            remedy=remedy,
        )


def _key(event: Event) -> str:
    """All events of one run of the chain belong together."""
    run: dict[str, str] = event["run"]
    parent = event["run"]["facets"].get("parent")
    return str(parent["root"]["run"]["runId"] if parent else run["runId"])
