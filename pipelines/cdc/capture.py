"""Capture files: a topic on disk, one message a line as `kcat -C -J` prints it.

Layout: `DIR/<topic>/*.jsonl[.gz|.zst]`. A folder is a topic; names sort in the order of arrival.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.errors import LakehouseError, UsageError

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst")
BLOCK_BYTES = 32 << 20
_NEWLINE = 10
_CACHE_BYTES = 1 << 18


@dataclass(frozen=True)
class CaptureFile:
    """One file of a topic."""

    topic: str
    path: Path

    @property
    def name(self) -> str:
        """`<topic>/<file>`: the same wherever the capture folder lies."""
        return f"{self.topic}/{self.path.name}"

    def stamp(self) -> str:
        """Size, times and inode: unchanged means unread since.

        A copy can take over size and modification time of another file (archives often set the
        same time on all), but not inode and change time.
        """
        status = self.path.stat()
        return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"

    def digest(self) -> str:
        """SHA-256 of the stored bytes: equal content, whatever its time or folder.

        Raises:
            LakehouseError: the file cannot be read.
        """
        try:
            with self.path.open("rb") as handle:
                return hashlib.file_digest(handle, "sha256").hexdigest()
        except OSError as error:
            raise _unreadable(self.path, error) from None


@dataclass(frozen=True)
class Lines:
    """Consecutive lines of one file.

    Attributes:
        text: the lines that are UTF-8; some still with their line end.
        numbers: their line numbers in the file, from 1.
        not_utf8: line number and bytes of the others.
        at_end: the file ends here.
        waiting_bytes: bytes of an unfinished last line, left for the next run.
    """

    text: pa.Array
    numbers: pa.Array
    not_utf8: list[tuple[int, bytes]] = field(default_factory=list)
    at_end: bool = False
    waiting_bytes: int = 0

    def __len__(self) -> int:
        return len(self.text) + len(self.not_utf8)


def find_captures(folder: Path) -> list[CaptureFile]:
    """All capture files below a folder, by topic and name.

    Raises:
        UsageError: the folder does not exist, or holds files but no topic folder.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise UsageError(
            f"capture folder {folder} {what}",
            "name a folder that holds <topic>/*.jsonl[.gz|.zst]; "
            "`lakehouse shop capture --to DIR` makes one",
        )
    astray = [path.name for path in sorted(folder.iterdir()) if path.name.endswith(SUFFIXES)]
    if astray:
        raise UsageError(
            f"capture file {folder / astray[0]} lies outside of a topic folder",
            f"move it to {folder}/<server>.<schema>.<table>/",
        )
    return [
        CaptureFile(topic.name, path)
        for topic in sorted(folder.iterdir())
        if topic.is_dir() and not topic.name.startswith(".")
        for path in sorted(topic.iterdir())
        if path.name.endswith(SUFFIXES) and not path.name.startswith(".")
    ]


def read_lines(file: CaptureFile, block_bytes: int = BLOCK_BYTES) -> Iterator[Lines]:
    """Read a file in blocks of whole lines; the last block has `at_end` set.

    A last line without line end counts when it is whole JSON, else it waits for the rest.

    Raises:
        LakehouseError: the file cannot be read or decompressed.
    """
    number = 1
    rest = b""
    try:
        with pa.input_stream(str(file.path), compression="detect", buffer_size=1 << 20) as stream:
            while True:
                buffer = np.empty(len(rest) + block_bytes, np.uint8)
                buffer[: len(rest)] = np.frombuffer(rest, np.uint8)
                read = stream.readinto(buffer[len(rest) :])
                if not read:
                    break
                data = buffer[: len(rest) + read]
                ends = _line_ends(data)
                cut = int(ends[-1]) + 1 if len(ends) else 0
                rest = data[cut:].tobytes()
                if cut:
                    lines = _split(data[:cut], ends, number)
                    number += len(lines)
                    yield lines
    except OSError as error:
        raise _unreadable(file.path, error) from None
    whole = np.frombuffer(rest + b"\n" if _is_json(rest) else b"", np.uint8)
    tail = _split(whole, _line_ends(whole), number)
    waiting = 0 if len(whole) else len(rest)
    yield Lines(tail.text, tail.numbers, tail.not_utf8, at_end=True, waiting_bytes=waiting)


def _unreadable(path: Path, error: OSError) -> LakehouseError:
    return LakehouseError(
        f"capture file {path} cannot be read: {error}",
        "check its permissions, or copy it again if it is damaged; "
        "whole blocks before the damage have landed, and a repeat continues after them",
    )


def read_ahead(blocks: Iterator[Lines]) -> Iterator[Lines]:
    """Read the next block while the caller works on the one before."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        coming = reader.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = reader.submit(next, blocks, None)
            yield block


def _is_json(line: bytes) -> bool:
    if not line.strip():
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _line_ends(data: NDArray[np.uint8]) -> NDArray[np.int64]:
    # Piece by piece, so that the comparison stays in the processor's cache.
    pieces = [
        np.flatnonzero(data[start : start + _CACHE_BYTES] == _NEWLINE) + start
        for start in range(0, len(data), _CACHE_BYTES)
    ]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int64)


def _split(data: NDArray[np.uint8], ends: NDArray[np.int64], first_number: int) -> Lines:
    """Cut at line ends without copying the text: an Arrow array over the very bytes read."""
    offsets = np.zeros(len(ends) + 1, np.int64)
    offsets[1:] = ends + 1
    text = pa.Array.from_buffers(
        pa.large_string(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    )
    numbers = pa.array(np.arange(first_number, first_number + len(ends), dtype=np.int64))
    try:
        text.validate(full=True)
        return Lines(text, numbers)
    except pa.ArrowInvalid:
        return _split_by_line(data.tobytes(), first_number)


def _split_by_line(data: bytes, first_number: int) -> Lines:
    good: list[tuple[int, str]] = []
    bad: list[tuple[int, bytes]] = []
    for number, line in enumerate(data.split(b"\n")[:-1], start=first_number):
        try:
            good.append((number, line.decode("utf-8")))
        except UnicodeDecodeError:
            bad.append((number, line))
    text = pa.array([line for _, line in good], pa.large_string())
    return Lines(text, pa.array([number for number, _ in good], pa.int64()), bad)
