"""How tests look into what services keep: PostgreSQL and Redis of the platform."""

from __future__ import annotations

import socket

import psycopg

from tests.stack.native.loopback import LOOPBACK
from tests.stack.native.stack import Stack

_SECONDS = 30


def database(stack: Stack, user: str, name: str | None = None) -> psycopg.Connection:
    """A connection as a service's role, to its own database unless another is named."""
    return psycopg.connect(
        host=LOOPBACK, port=stack.port("platform-db", 5433), user=user, dbname=name or user,
        password=stack.secrets[f"{user.upper()}_DB_PASSWORD"], autocommit=True,
    )  # fmt: skip


def ask_redis(stack: Stack, *commands: str, is_known: bool = True) -> str:
    """What Redis answers to commands of one connection.

    Args:
        is_known: whether the password is told first.
    """
    enter = [f"AUTH {stack.secrets['REDIS_PASSWORD']}"] if is_known else []
    address = (LOOPBACK, stack.port("redis", 6379))
    with socket.create_connection(address, timeout=_SECONDS) as server:
        server.sendall("".join(f"{line}\r\n" for line in (*enter, *commands, "QUIT")).encode())
        answer = b""
        while told := server.recv(65536):
            answer += told
    return answer.decode()
