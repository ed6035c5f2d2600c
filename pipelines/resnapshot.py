"""Resnapshot: a table begins a new epoch, so that a snapshot to come counts above all before it.

An epoch is what a landing reads in the contract when it starts: messages that land before count as
of the former epoch, those after as of the new one, whichever log they came from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pyarrow.compute as pc
from deltalake import DeltaTable

from pipelines.contract import Table, load_contracts
from pipelines.contract_edit import edited, meta_of
from pipelines.errors import LakehouseError
from pipelines.lake import lock
from pipelines.lake.ids import new_id
from pipelines.lake.tables import raw_path
from pipelines.settings import Settings
from pipelines.table_names import tables_called

COMMAND = "lakehouse resnapshot"


@dataclass(frozen=True)
class Signal:
    """What makes Debezium take a snapshot that has an end, by one of its two channels.

    Source: https://debezium.io/documentation/reference/stable/configuration/signalling.html

    Attributes:
        data_collection: the table's name as the connector writes it.
        sql: for the signalling table that `signal.data.collection` names.
        kafka_key, kafka_value: for the topic that `signal.kafka.topic` names.
    """

    data_collection: str
    sql: str
    kafka_key: str
    kafka_value: str


@dataclass(frozen=True)
class Resnapshot:
    """A new epoch of a table, and what must follow.

    Attributes:
        topic: of the table.
        file: the contract that holds the epoch.
        steps: what to do next, in this order.
    """

    topic: str
    file: str
    former_epoch: int
    epoch: int
    signal: Signal
    steps: list[str]


def resnapshot(
    settings: Settings, name: str, *, force: bool = False, dry_run: bool = False
) -> Resnapshot:
    """Raise the epoch in the table's contract by one.

    Args:
        name: of the table, its topic, or its name in SQL.
        force: even if nothing of the present epoch has landed.
        dry_run: change nothing.

    Raises:
        UsageError: the name means no table, or several.
        Busy: a run holds this lake; what it lands would still be of the former epoch.
        LakehouseError: nothing of the present epoch has landed, so that a new one is most likely a
            mistake; or the contract cannot be edited.
    """
    (table,) = tables_called(load_contracts(settings.project_dir), [name])
    if not force and not _has_landed(settings, table):
        raise LakehouseError(
            f"nothing of epoch {table.epoch} of {table.topic} has landed: a new epoch would follow "
            "an empty one",
            "if this one was begun for a snapshot that has yet to come, go on with that (--dry-run "
            "--force shows the signal again); a first snapshot needs no new epoch; otherwise add "
            "--force, which does no harm",
        )
    if not dry_run:
        with (
            lock.exclusive(settings.state, COMMAND),
            edited(settings.project_dir, table) as entry,
        ):
            meta_of(entry)["epoch"] = table.epoch + 1
    signal = signal_for(table)
    return Resnapshot(table.topic, table.file, table.epoch, table.epoch + 1, signal, _steps(table))


def signal_for(table: Table) -> Signal:
    """An ad-hoc blocking snapshot of the table: unlike an incremental one, it tells its end."""
    # SQL Server: a topic without the database's name does not tell it.
    lacks_database = table.connector == "sqlserver" and "." not in table.namespace
    collection = f"{'<database>.' if lacks_database else ''}{table.namespace}.{table.name}"
    data = {"type": "BLOCKING", "data-collections": [collection]}
    return Signal(
        data_collection=collection,
        sql="insert into <signal.data.collection> (id, type, data) values "
        f"('{new_id()}', 'execute-snapshot', '{json.dumps(data)}');",
        kafka_key=table.server,
        kafka_value=json.dumps({"type": "execute-snapshot", "data": data}),
    )


def _has_landed(settings: Settings, table: Table) -> bool:
    path = raw_path(settings.raw, table)
    if not DeltaTable.is_deltatable(str(path)):
        return False
    rows = (
        DeltaTable(str(path))
        .to_pyarrow_dataset()
        .scanner(columns=["_epoch"], filter=pc.field("_epoch") == table.epoch)
    )
    return bool(rows.head(1).num_rows)


def _steps(table: Table) -> list[str]:
    pattern = table.stream_topic.replace(".", r"\.")
    return [
        "Stop the connector, and all that lands: a follower reads the epoch when it starts.",
        "Land what the topic still holds, to its end: "
        f"lakehouse land --kafka HOST:PORT --topics '{pattern}'. If anything landed, it took the "
        f"new epoch although it may be of the former log: lakehouse resnapshot {table.topic} "
        "again, so that the snapshot comes first in its epoch.",
        "Start the connector; where the replication slot or the offsets are lost, with new ones.",
        "Send the signal by one of the two channels below. A connector that began without offsets "
        "and with snapshot.mode initial takes a complete snapshot by itself: then leave this out.",
        "Start landing again, then: lakehouse run. It builds all anew, once, since the contract "
        "has changed. When the end of the snapshot has landed, rows that it did not bring are "
        "deleted in current state, as of then; history keeps them. Until then they stay.",
    ]
