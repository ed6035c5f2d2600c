"""The ways by which events leave the lake: HTTP, as Marquez takes them, or a Kafka topic."""

from __future__ import annotations

import http.client
from typing import Any, Protocol
from urllib.parse import urlsplit

from pipelines.errors import LakehouseError, UsageError
from pipelines.settings import Settings

_SETTING = "LAKEHOUSE_LINEAGE_URL"
_ENDPOINT = "/api/v1/lineage"


class Transport(Protocol):
    """Sends one event at a time.

    Attributes:
        name: its kind and address, for a person.
    """

    name: str

    def send(self, body: bytes, key: str) -> None:
        """Send an event, and wait until it was taken.

        Args:
            key: events of one key stay in their order.

        Raises:
            LakehouseError: it was not; names cause and remedy.
        """


def transport_of(url: str, settings: Settings) -> Transport:
    """The transport for an address.

    Raises:
        LakehouseError: the address is wrong, or the package for it is missing.
    """
    if url.startswith("kafka://"):
        return Kafka(url, settings)
    return Http(url, settings.lineage_api_key, settings.lineage_timeout)


class Http:
    """An OpenLineage endpoint; one connection for all events of a run.

    Args:
        url: without a path, Marquez' own is taken.
        seconds: for each answer.
    """

    def __init__(self, url: str, api_key: str | None, seconds: float) -> None:
        parts = urlsplit(url)
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        try:
            self._connection = kinds[parts.scheme](
                parts.hostname or "", parts.port, timeout=seconds
            )
        except ValueError as error:
            raise UsageError(
                f"{_SETTING} is no address: {error}", "write http://host:port"
            ) from None
        self._path = parts.path if parts.path.strip("/") else _ENDPOINT
        self.name = f"the lineage server at {parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def send(self, body: bytes, key: str) -> None:
        """As of `Transport`."""
        try:
            status = self._post(body)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            # Servers end connections that were idle for a while.
            status = self._again(body)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        if status in (401, 403):
            raise LakehouseError(
                f"{self.name} refuses with {status}", "correct LAKEHOUSE_LINEAGE_API_KEY"
            )
        if not 200 <= status < 300:
            raise LakehouseError(
                f"{self.name} answers with {status} to {self._path}",
                f"see its log, or correct {_SETTING}",
            )

    def _again(self, body: bytes) -> int:
        self._connection.close()
        try:
            return self._post(body)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None

    def _post(self, body: bytes) -> int:
        self._connection.request("POST", self._path, body, self._headers)
        response = self._connection.getresponse()
        response.read()
        return int(response.status)

    def _unreachable(self, error: Exception) -> LakehouseError:
        told = str(error) or type(error).__name__
        return LakehouseError(
            f"{self.name} does not answer: {told}", f"start it, or correct {_SETTING}"
        )


class Kafka:
    """A Kafka topic: `kafka://host:port[,host:port]/topic`."""

    def __init__(self, url: str, settings: Settings) -> None:
        parts = urlsplit(url)
        self._topic = parts.path.strip("/")
        if not self._topic:
            raise UsageError(f"{_SETTING} names no topic", "write kafka://host:port/topic")
        try:
            from confluent_kafka import KafkaException, Producer
        except ImportError:
            raise LakehouseError(
                "the package for Kafka is not installed", "pip install 'lakehouse-platform[kafka]'"
            ) from None
        from pipelines.cdc.kafka_cluster import read_properties

        self._seconds = settings.lineage_timeout
        brokers = parts.netloc.rpartition("@")[2]
        file = settings.kafka_config
        properties: dict[str, Any] = dict(read_properties(file)) if file else {}
        properties |= {
            "bootstrap.servers": brokers,
            "message.timeout.ms": int(self._seconds * 1000),
            "linger.ms": 0,
            # What librdkafka has to say of a broker comes with the failure of the message.
            "log_level": 0,
        }
        try:
            self._producer = Producer(properties)
        except KafkaException as error:
            raise UsageError(
                f"librdkafka refuses its properties: {error.args[0].str()}",
                f"correct {_SETTING} or LAKEHOUSE_KAFKA_CONFIG",
            ) from None
        self.name = f"Kafka at {brokers}"

    def send(self, body: bytes, key: str) -> None:
        """As of `Transport`."""
        failed: list[str] = []

        def delivered(error: Any, message: Any) -> None:
            if error is not None:
                failed.append(str(error.str()))

        self._producer.produce(self._topic, body, key, on_delivery=delivered)
        if self._producer.flush(self._seconds):
            failed.append(f"no answer within {self._seconds:g} s")
        if failed:
            raise LakehouseError(
                f"{self.name} does not take lineage into the topic {self._topic}: {failed[0]}",
                f"start it, create the topic, or correct {_SETTING}",
            )
