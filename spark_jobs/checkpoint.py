"""What Spark's checkpoint tells of a streaming query: who it is, and when a batch was planned."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path


class Checkpoint:
    """The checkpoint of one query.

    Args:
        folder: where Spark keeps it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def query_id(self) -> str:
        """Stays the same as long as the checkpoint is kept."""
        return str(json.loads((self.folder / "metadata").read_text())["id"])

    def batch_id(self, number: int) -> str:
        """The lake's id of a micro-batch: the same however often it is tried, and sorted by time.

        Spark writes down a batch with its time and offsets before it begins.
        """
        lines = (self.folder / "offsets" / str(number)).read_text().splitlines()
        planned = datetime.fromtimestamp(json.loads(lines[1])["batchTimestampMs"] / 1000, UTC)
        mark = hashlib.sha256(f"{self.query_id}:{number}".encode()).hexdigest()[:6]
        return f"{planned:%Y%m%dT%H%M%S%f}-{mark}"
