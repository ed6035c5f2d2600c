"""Raw tables in Hive Metastore, where Trino and Spark find them by name.

What the metastore holds is a name, a place and some properties; schema and rows are in the Delta
log. So the landing goes on where the metastore is away, and a later one makes up for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import structlog

from pipelines.errors import LakehouseError, UsageError

log = structlog.get_logger()

DATABASE = "raw"
_SCHEME = "thrift://"
_SECONDS = 5
_OURS = "lakehouse."
# By which Trino and Spark know a Delta table.
_DELTA = {"spark.sql.sources.provider": "delta", "EXTERNAL": "TRUE"}


@dataclass(frozen=True)
class Metastore:
    """A metastore, and the folder of the store that holds the raw tables.

    Args:
        url: `thrift://host:port`.
        raw: as the engines see it: `s3://bucket/folder/raw`.
    """

    url: str
    raw: str

    def note(self, told: Mapping[str, Mapping[str, str]]) -> None:
        """Register raw tables: folder → properties.

        The first error is logged and ends it: what has landed is not the less landed.
        """
        for folder, properties in told.items():
            try:
                self.register(folder, properties)
            except LakehouseError as error:
                log.warning("metastore not told", table=folder, error=str(error))
                return

    def register(self, folder: str, properties: Mapping[str, str]) -> None:
        """Register a raw table if it is not, and set properties of it (`lakehouse.<name>`).

        Raises:
            LakehouseError: the metastore does not answer, or refuses.
        """
        name, location = table_name(folder), f"{self.raw}/{folder}"
        told = {_OURS + key: value for key, value in properties.items()}
        with connected(self.url) as (client, types):
            with suppress(types.AlreadyExistsException):
                client.create_database(types.Database(name=DATABASE, parameters={}))
            try:
                found = client.get_table(DATABASE, name)
            except types.NoSuchObjectException:
                client.create_table(_table(types, name, location, told))
                return
            known = found.sd.serdeInfo.parameters.get("path", found.sd.location)
            if known != location:
                raise LakehouseError(
                    f"{DATABASE}.{name} of {self.url} lies in {known}, not in {location}",
                    "drop that table from the metastore, or use another one: it serves one lake",
                )
            if not told.items() <= found.parameters.items():
                found.parameters.update(told)
                client.alter_table(DATABASE, name, found)


def table_name(folder: str) -> str:
    """The name of a raw table for engines that take no dots: `<server>_<schema>_<table>`."""
    return re.sub(r"[^a-z0-9_]", "_", folder.lower())


@contextmanager
def connected(url: str) -> Iterator[tuple[Any, Any]]:
    """A client of the metastore, and the types that it takes.

    Raises:
        UsageError: the URL is none of a metastore.
        LakehouseError: the package is missing, or the metastore does not answer or refuses.
    """
    place = urlsplit(url)
    if not url.startswith(_SCHEME) or not place.hostname or not place.port:
        raise UsageError(f"{url} is no address of a metastore", f"write {_SCHEME}host:9083")
    try:
        from pymetastore.hive_metastore import ThriftHiveMetastore, ttypes
        from thrift.protocol.TBinaryProtocol import TBinaryProtocol
        from thrift.Thrift import TException
        from thrift.transport import TSocket, TTransport
    except ImportError:
        raise LakehouseError(
            "the package for Hive Metastore is not installed",
            "pip install 'lakehouse-platform[metastore]'",
        ) from None
    socket = TSocket.TSocket(place.hostname, place.port)
    socket.setTimeout(_SECONDS * 1000)
    transport = TTransport.TBufferedTransport(socket)
    try:
        transport.open()
        yield ThriftHiveMetastore.Client(TBinaryProtocol(transport)), ttypes
    except (TException, OSError) as error:
        told = getattr(error, "message", None) or str(error)
        raise LakehouseError(
            f"Hive Metastore at {url} does not answer, or refuses: {told}",
            "start it, or correct LAKEHOUSE_METASTORE",
        ) from None
    finally:
        transport.close()


def _table(types: Any, name: str, location: str, properties: Mapping[str, str]) -> Any:
    serde = types.SerDeInfo(
        name=name,
        serializationLib="org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe",
        parameters={"path": location, "serialization.format": "1"},
    )
    storage = types.StorageDescriptor(
        # Nobody looks at it: the columns are in the Delta log.
        cols=[types.FieldSchema(name="col", type="array<string>", comment="in the Delta log")],
        location=location,
        inputFormat="org.apache.hadoop.mapred.SequenceFileInputFormat",
        outputFormat="org.apache.hadoop.hive.ql.io.HiveSequenceFileOutputFormat",
        compressed=False,
        numBuckets=-1,
        serdeInfo=serde,
        bucketCols=[],
        sortCols=[],
        parameters={},
    )
    return types.Table(
        tableName=name,
        dbName=DATABASE,
        owner="lakehouse",
        sd=storage,
        partitionKeys=[],
        parameters={**_DELTA, **properties},
        tableType="EXTERNAL_TABLE",
    )
