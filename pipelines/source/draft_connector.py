"""The configuration of Debezium for a source: what is captured, and how values are written."""

from __future__ import annotations

import json
import re

from pipelines.source.drafted import DraftedSource


def connector(source: DraftedSource) -> str:
    """The configuration as JSON; addresses and the password come from Connect's environment."""
    tables = [_pattern(source.namespace, table.name) for table in source.tables]
    left_out = [
        _pattern(source.namespace, table.name, column)
        for table in source.tables
        for column in table.left_out
    ]
    settings = {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "tasks.max": "1",
        "exactly.once.support": "required",
        "topic.prefix": source.server,
        "database.hostname": f"${{env:{source.variable}_DB_HOST}}",
        "database.port": f"${{env:{source.variable}_DB_PORT}}",
        "database.dbname": source.database,
        "database.user": source.role,
        "database.password": f"${{env:{source.variable}_CDC_PASSWORD}}",
        "plugin.name": "pgoutput",
        "slot.name": source.publication,
        "slot.drop.on.stop": "false",
        "publication.name": source.publication,
        "publication.autocreate.mode": "disabled",
        "table.include.list": ",".join(tables),
        "snapshot.mode": "initial",
        "heartbeat.interval.ms": "5000",
        "heartbeat.action.query": f"update {source.role}.heartbeat set at = now() where id = 1",
        "skipped.operations": "none",
        "tombstones.on.delete": "true",
        "decimal.handling.mode": "string",
        "time.precision.mode": "isostring",
        "interval.handling.mode": "string",
        "provide.transaction.metadata": "true",
        "topic.creation.default.partitions": "3",
        "topic.creation.default.replication.factor": "1",
    }
    if left_out:
        settings["column.exclude.list"] = ",".join(left_out)
    return json.dumps(settings, indent=2, ensure_ascii=False) + "\n"


def _pattern(*names: str) -> str:
    """A regular expression of Java for one name; a comma would part it from the next."""
    return r"\.".join(re.escape(name).replace(",", r"\x2c") for name in names)
