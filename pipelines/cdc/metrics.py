"""What a landing tells about itself: a file a topic for `status`, and metrics for Prometheus."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import structlog

from pipelines.errors import LakehouseError

log = structlog.get_logger()

_FOLDER = "streams"
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "lakehouse_landing_"

# Name → type and help.
_METRICS = {
    "consumed_total": ("counter", "Messages read from Kafka and judged."),
    "messages_total": ("counter", "New messages by what became of them."),
    "replayed_total": ("counter", "Messages that had landed before and were passed over."),
    "batches_total": ("counter", "Batches landed."),
    "batch_seconds_total": ("counter", "Seconds spent on landing batches."),
    "last_batch_seconds": ("gauge", "Seconds that the last batch took to land."),
    "last_batch_timestamp_seconds": ("gauge", "When the last batch had landed."),
    "newest_source_timestamp_seconds": ("gauge", "When the newest landed change was committed."),
    "lag_messages": ("gauge", "Messages of a partition that have not landed yet."),
    "buffered_messages": ("gauge", "Messages read from Kafka that have not landed yet."),
}

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Numbers that one thread counts and another one reads."""

    def __init__(self) -> None:
        self._values: dict[str, dict[Labels, float]] = {name: {} for name in _METRICS}
        self._lock = threading.Lock()

    def add(self, name: str, amount: float, **labels: str) -> None:
        """Count up."""
        with self._lock:
            values, place = self._values[name], tuple(labels.items())
            values[place] = values.get(place, 0) + amount

    def set(self, name: str, value: float, **labels: str) -> None:
        """Put a gauge at a value."""
        with self._lock:
            self._values[name][tuple(labels.items())] = value

    def forget(self, name: str, **labels: str) -> None:
        """Take a gauge away, such as that of a partition that another member reads now."""
        with self._lock:
            self._values[name].pop(tuple(labels.items()), None)

    def text(self) -> str:
        """All values in Prometheus' text format."""
        lines: list[str] = []
        with self._lock:
            for name, (kind, description) in _METRICS.items():
                lines += [
                    f"# HELP {_PREFIX}{name} {description}",
                    f"# TYPE {_PREFIX}{name} {kind}",
                ]
                lines += [
                    f"{_PREFIX}{name}{_written(labels)} {value:.17g}"
                    for labels, value in sorted(self._values[name].items())
                ]
        return "\n".join(lines) + "\n"


def _written(labels: Labels) -> str:
    if not labels:
        return ""
    escapes = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
    return "{" + ",".join(f'{name}="{value.translate(escapes)}"' for name, value in labels) + "}"


@contextmanager
def served(metrics: Metrics, host: str, port: int) -> Iterator[int]:
    """Answer `GET /metrics` in a thread of its own; yields the port (0 asks for any free one).

    Raises:
        LakehouseError: the address cannot be used.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.split("?")[0] != "/metrics":
                self.send_error(404)
                return
            content = metrics.text().encode()
            self.send_response(200)
            self.send_header("Content-Type", _CONTENT_TYPE)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (given as well)
            """Say nothing: a scrape every few seconds is no news."""

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except (OSError, OverflowError) as error:
        raise LakehouseError(
            f"metrics cannot be served at {host}:{port}: {error}",
            "choose another --metrics-port or --metrics-host",
        ) from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.daemon = True
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def save_stream(state: Path, topic: str, told: Mapping[str, Any], lag: Mapping[int, int]) -> None:
    """Keep what a landing tells of a topic for `status`.

    Args:
        lag: partition → messages not yet landed. Partitions that another process reads keep theirs.
    """
    path = state / _FOLDER / f"{topic}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    former = _load(path) or {}
    partitions = former.get("lag_by_partition", {}) | {str(p): n for p, n in lag.items()}
    content = former | dict(told) | {
        "topic": topic,
        "lag_messages": sum(partitions.values()),
        "lag_by_partition": partitions,
    }  # fmt: skip
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps(content), encoding="utf-8")
    draft.replace(path)


def streams(state: Path) -> list[dict[str, Any]]:
    """What the last landing from Kafka told of each topic."""
    found = (_load(path) for path in sorted((state / _FOLDER).glob("*.json")))
    return [stream for stream in found if stream is not None]


def _load(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        log.warning("unreadable state passed over", path=str(path))
        return None
    return content
