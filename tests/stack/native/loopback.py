"""Addresses that only this machine reaches."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from functools import cache
from pathlib import Path
from typing import BinaryIO

LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, and that no other process has been given by this function.

    All of them are held until the last is known.
    """
    held: list[socket.socket] = []
    given: list[int] = []
    try:
        while len(given) < count:
            held.append(socket.socket())
            held[-1].bind((LOOPBACK, 0))
            port = held[-1].getsockname()[1]
            if _is_ours(port):
                given.append(port)
        return given
    finally:
        for found in held:
            found.close()


def _is_ours(port: int) -> bool:
    """Reserve a port for as long as this process lives: its services start later."""
    try:
        fcntl.lockf(_reservations(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


@cache
def _reservations() -> BinaryIO:
    """A file whose bytes stand for ports; it stays open, for closing it gives up all of them."""
    return (Path(tempfile.gettempdir()) / f"lakehouse-ports-{os.getuid()}").open("ab")
