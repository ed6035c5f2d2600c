"""Addresses that only this machine reaches."""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago; all of them are held until the last is known."""
    held = []
    try:
        for _ in range(count):
            held.append(socket.socket())
            held[-1].bind((LOOPBACK, 0))
        return [found.getsockname()[1] for found in held]
    finally:
        for found in held:
            found.close()
