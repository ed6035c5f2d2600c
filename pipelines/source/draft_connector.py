"""The configuration of Debezium for a source: what is captured, and how values are written."""

from __future__ import annotations

import json
import re
import zlib

from pipelines.source.drafted import DraftedSource


def connector(source: DraftedSource) -> str:
    """The configuration as JSON; addresses and the password come from Connect's environment."""
    own = _mariadb(source) if source.connector == "mariadb" else _postgres(source)
    settings = {
        "connector.class": own.pop("connector.class"),
        "tasks.max": "1",
        "exactly.once.support": "required",
        "topic.prefix": source.server,
        "database.hostname": f"${{env:{source.variable}_DB_HOST}}",
        "database.port": f"${{env:{source.variable}_DB_PORT}}",
        "database.user": source.role,
        "database.password": f"${{env:{source.variable}_CDC_PASSWORD}}",
        **own,
        "table.include.list": ",".join(
            _pattern(source.namespace, table.name) for table in source.tables
        ),
        "snapshot.mode": "initial",
        "heartbeat.interval.ms": "5000",
        "skipped.operations": "none",
        "tombstones.on.delete": "true",
        "decimal.handling.mode": "string",
        "time.precision.mode": "isostring",
        "provide.transaction.metadata": "true",
        "topic.creation.default.partitions": "3",
        "topic.creation.default.replication.factor": "1",
    }
    left_out = [
        _pattern(source.namespace, table.name, column)
        for table in source.tables
        for column in table.left_out
    ]
    if left_out:
        settings["column.exclude.list"] = ",".join(left_out)
    return json.dumps(settings, indent=2, ensure_ascii=False) + "\n"


def _postgres(source: DraftedSource) -> dict[str, str]:
    return {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "database.dbname": source.database,
        "plugin.name": "pgoutput",
        "slot.name": source.publication,
        "slot.drop.on.stop": "false",
        "publication.name": source.publication,
        "publication.autocreate.mode": "disabled",
        "heartbeat.action.query": f"update {source.role}.heartbeat set at = now() where id = 1",
        "interval.handling.mode": "string",
    }


def _mariadb(source: DraftedSource) -> dict[str, str]:
    kafka = "${env:KAFKA_HOST}:${env:KAFKA_PORT}"
    settings = {
        "connector.class": "io.debezium.connector.mariadb.MariaDbConnector",
        # To the server each connector is a replica with a number of its own.
        "database.server.id": str(zlib.crc32(source.server.encode()) % 2**31 + 1),
        "database.include.list": _pattern(source.database),
        "connect.keep.alive.interval.ms": "5000",
        "driver.yearIsDateType": "false",
        "bigint.unsigned.handling.mode": "precise",
        "schema.history.internal.kafka.bootstrap.servers": kafka,
        "schema.history.internal.kafka.topic": f"{source.server}.schema-history",
        "signal.enabled.channels": "kafka",
        "signal.kafka.bootstrap.servers": kafka,
        "signal.kafka.topic": f"{source.server}.signals",
    }
    if source.has_unreadable:
        # Else the snapshot would fail at the definitions of tables that nobody wants.
        settings["schema.history.internal.store.only.captured.tables.ddl"] = "true"
    keys = [
        f"{_pattern(source.namespace, table.name)}:{','.join(table.table.key)}"
        for table in source.tables
        if table.table.key_index
    ]
    if keys:
        settings["message.key.columns"] = ";".join(keys)
    return settings


def _pattern(*names: str) -> str:
    """A regular expression of Java for one name; a comma would part it from the next."""
    return r"\.".join(re.escape(name).replace(",", r"\x2c") for name in names)
