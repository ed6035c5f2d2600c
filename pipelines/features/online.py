"""Feast's online store in Redis, at the address that the settings name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from feast import Entity, FeatureView, RepoConfig
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from redis import Redis
from redis.exceptions import RedisError

from pipelines.errors import Unavailable

_SECONDS = 30.0
Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]


class ServedOnlineStoreConfig(RedisOnlineStoreConfig):
    """Where Redis is.

    Attributes:
        url: as in LAKEHOUSE_REDIS: user, password, TLS and database may be told by it.
        skip_dedup: otherwise a row as old as the one that is served is dropped: a correction.
    """

    type: str = "pipelines.features.online.ServedOnlineStore"  # type: ignore[assignment]
    url: str
    skip_dedup: bool = True


class ServedOnlineStore(RedisOnlineStore):
    """Feast's own, reached by URL: its connection string reads a password as JSON, up to a comma.

    Each key ends with the name of the project: whatever else Redis keeps is left alone.
    """

    def _get_client(self, online_store_config: RedisOnlineStoreConfig) -> Redis:
        if not isinstance(self._client, Redis):
            self._client = client(_url(online_store_config))
        return self._client

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        with answering(_url(config.online_store)):
            super().update(
                config, tables_to_delete, tables_to_keep, entities_to_delete, entities_to_keep,
                partial,
            )  # fmt: skip

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[Row],
        progress: Callable[[int], Any] | None,
    ) -> None:
        with answering(_url(config.online_store)):
            super().online_write_batch(config, table, data, progress)

    def _read_hash_fields(
        self, config: RepoConfig, commands: list[tuple[bytes, list[str | bytes]]]
    ) -> Any:
        with answering(_url(config.online_store)):
            return super()._read_hash_fields(config, commands)


def client(url: str) -> Redis:
    """A client of Redis, not connected yet."""
    return Redis.from_url(url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS)


@contextmanager
def answering(url: str) -> Iterator[None]:
    """Turn what goes wrong with Redis into a cause and a remedy.

    Raises:
        Unavailable: it does not answer, lets nobody in, or its memory is full.
    """
    try:
        yield
    except RedisError as error:
        parts = urlsplit(url)
        raise Unavailable(
            f"Redis at {parts.hostname}:{parts.port or 6379} does not answer, or refuses: {error}",
            "start it, correct LAKEHOUSE_REDIS, or give it more memory; then try again",
        ) from None


def _url(config: Any) -> str:
    if not isinstance(config, ServedOnlineStoreConfig):
        raise TypeError(f"{type(config).__name__} does not tell where Redis is")
    return config.url
