"""Checks of Redis, which keeps features for models that answer at once."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from io import BufferedRWPair
from urllib.parse import unquote, urlsplit

from pipelines.checks.finding import Finding
from pipelines.errors import LakehouseError
from pipelines.settings import Settings

_SECONDS = 5.0
_PORT = 6379


def check(settings: Settings) -> Iterator[Finding]:
    """Whether it answers, lets this user in, and never throws features away.

    Raises:
        LakehouseError: it does not answer, or refuses.
    """
    if settings.redis is None:
        return
    told = _info(settings.redis)
    yield Finding("redis", True, f"version {told.get('redis_version', 'unknown')}")
    policy = told.get("maxmemory_policy", "unknown")
    loses = policy.startswith("allkeys-")
    yield Finding(
        "redis: memory", not loses, f"when it is full: {policy}",
        "set maxmemory-policy to volatile-lru or noeviction: this one throws features away"
        if loses else "",
    )  # fmt: skip


def _info(url: str) -> dict[str, str]:
    """What the server tells of itself.

    Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
    """
    parts = urlsplit(url)
    at = f"Redis at {parts.hostname}"
    try:
        at += f":{parts.port or _PORT}"
        server = socket.create_connection((parts.hostname, parts.port or _PORT), _SECONDS)
        if parts.scheme == "rediss":
            context = ssl.create_default_context()
            server = context.wrap_socket(server, server_hostname=parts.hostname)
        with closing(server), server.makefile("rwb") as stream:
            if parts.password is not None:
                names = [unquote(parts.username)] if parts.username else []
                _ask(stream, at, "AUTH", *names, unquote(parts.password))
            content = _ask(stream, at, "INFO")
    except (OSError, ValueError) as error:
        raise LakehouseError(
            f"{at} does not answer: {error}", "start it, or correct LAKEHOUSE_REDIS"
        ) from None
    lines = [line.partition(":") for line in content.splitlines()]
    return {name: value for name, colon, value in lines if colon}


def _ask(stream: BufferedRWPair, at: str, *words: str) -> str:
    encoded = [word.encode() for word in words]
    parts = [b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded]
    stream.write(b"*%d\r\n%s" % (len(parts), b"".join(parts)))
    stream.flush()
    line = stream.readline().decode(errors="replace").rstrip("\r\n")
    if line.startswith("-"):
        raise LakehouseError(
            f"{at} refuses: {line[1:]}", "correct user and password in LAKEHOUSE_REDIS"
        )
    if line.startswith("$"):
        return stream.read(int(line[1:])).decode()
    if not line.startswith("+"):
        raise ValueError("what it says is not Redis' protocol")
    return line[1:]
