"""Erasure of a person: rows, letters, history, marts, statistics, log entries and old versions.

Facts stay under the id of nobody. A list of keyed hashes keeps the person out when the events are
delivered again (`pipelines.cdc.erasures`). In the end every file of the lake is searched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from pipelines import chain, maintain, transform
from pipelines.cdc import dead_letters
from pipelines.cdc.capture import CaptureFile
from pipelines.cdc.erasures import (
    REASON,
    Erasures,
    Person,
    erased_values,
    mentioned,
    subject_columns,
)
from pipelines.cdc.ledger import Ledger
from pipelines.cdc.masking import Masker, load_masker
from pipelines.contract import Table, load_contracts
from pipelines.errors import LakehouseError, UsageError
from pipelines.features.served import forget_served
from pipelines.lake import lock
from pipelines.lake.duck import connect
from pipelines.lake.ids import now
from pipelines.lake.inference import CLIENT, OF_CLIENTS, inference_path
from pipelines.lake.publish import forget_manifests, read_manifest
from pipelines.lake.sql import delta_scan, identifier, literal
from pipelines.lake.tables import COMPRESSED, PARTITIONS, again_if_overtaken, raw_path, read
from pipelines.lake.writer import LAKEHOUSE, refuse_other_writer
from pipelines.quality.gatekeeper import forget_rows
from pipelines.records import recorded
from pipelines.settings import Settings
from pipelines.targets import refuse_server
from pipelines.traces import Traces

COMMAND = "lakehouse erase"
_ROWS_A_PIECE = 100_000


@dataclass
class ErasureReport:
    """What an erasure did, without a word that tells whom.

    Attributes:
        was_listed: the person was on the list before, by a former erasure.
        rows: raw table → rows that named the person.
        letters: dead letters that named the person, emptied.
        remaining: files in which a trace was found in the end, and where in them.
        captures: capture files of the inbox that name the person.
    """

    erasure_id: str
    was_listed: bool = False
    rows: dict[str, int] = field(default_factory=dict)
    letters: int = 0
    remaining: dict[str, str] = field(default_factory=dict)
    captures: list[Path] = field(default_factory=list)


def erase(
    settings: Settings,
    person: Person,
    *,
    on_progress: Callable[[str], None] = lambda step: None,
) -> ErasureReport:
    """Erase a person from the lake; a repetition finishes what was cut off.

    Raises:
        UsageError: no contract tells of such persons.
        Busy: another run or maintenance holds this lake.
        LakehouseError: others keep committing, or the build failed; repeat it then.
    """
    refuse_server(settings, COMMAND)
    _refuse_held(settings)
    tables = _tables_that_tell_of(settings, person)
    masker = load_masker(settings, create=False)
    with (
        recorded(settings, COMMAND) as recorder,
        lock.exclusive(settings.state, COMMAND, name=lock.MAINTENANCE),
        connect(settings) as connection,
    ):
        report = ErasureReport(recorder.run_id)
        # First of all: what lands from now on is without the person.
        on_progress("Listing")
        erasures = Erasures(settings.raw, masker)
        report.was_listed = not erasures.add(person, recorder.run_id, now())
        hashes: set[str] = set()
        for table in tables:
            on_progress(f"Erasing in {table.topic}")
            hashes |= _hashes_of(connection, settings, table, person)
            report.rows[table.topic] = _contended(
                partial(_erase_rows, connection, settings, table, person, recorder.run_id)
            )
        on_progress("Erasing in dead letters")
        report.letters = _contended(
            partial(_erase_letters, settings, tables, person, masker, recorder.run_id)
        )
        for name in OF_CLIENTS if person.subject == CLIENT else ():
            on_progress(f"Erasing in {name}")
            _contended(partial(_erase_inferred, settings, name, person, recorder.run_id))
        on_progress("Building and publishing")
        forget_rows(settings, recorder.run_id)
        transform.begin_anew(settings, recorder.run_id)
        chain.build_and_publish(settings, recorder)
        # A landing that was on may have kept a letter that it had judged before.
        report.letters += _contended(
            partial(_erase_letters, settings, tables, person, masker, recorder.run_id)
        )
        on_progress("Forgetting former versions")
        forget_manifests(settings.published)
        forget_served(settings)
        contracts = load_contracts(settings.project_dir)
        for target in maintain.targets(settings, contracts):
            maintain.forget_former_versions(target)
        on_progress("Searching")
        traces = Traces(settings, tables, person, hashes)
        report.remaining = dict(traces.in_lake())
        report.captures = list(traces.in_captures())
        recorder.told |= {"erased_rows": sum(report.rows.values()), "letters": report.letters}
    return report


def _refuse_held(settings: Settings) -> None:
    manifest = read_manifest(settings.published)
    if manifest is not None and manifest.is_held:
        raise LakehouseError(
            f"readers are held at publication {manifest.version}, which may tell of the person",
            "`lakehouse publish --latest` first",
        )


def delete_captures(settings: Settings, report: ErasureReport) -> None:
    """Delete the capture files of the report that have landed; those to come stay in it."""
    overview = Ledger(settings.raw).overview()
    landed = set(
        zip(overview["source_file"].to_pylist(), overview["source_stamp"].to_pylist(), strict=True)
    )
    for path in list(report.captures):
        file = CaptureFile(path.parent.name, path)
        if (file.name, file.stamp()) in landed:
            path.unlink()
            report.captures.remove(path)


def _tables_that_tell_of(settings: Settings, person: Person) -> list[Table]:
    tables = load_contracts(settings.project_dir).tables
    found = [table for table in tables if subject_columns(table, person.subject)]
    if not found:
        raise UsageError(
            f"no contract tells where the id of a {person.subject} stands",
            f"mark the columns: `config: {{meta: {{subject: {person.subject}}}}}`",
        )
    is_number = person.id.lstrip("-").isdecimal()
    for table in found:
        for column in subject_columns(table, person.subject):
            if column.type != "varchar" and not is_number:
                raise UsageError(
                    f"{person.id} is no {column.type}, as {table.topic} has in {column.name}",
                    f"give the id of the {person.subject} as the source writes it",
                )
    return [table for table in found if DeltaTable.is_deltatable(_path(settings, table))]


def _path(settings: Settings, table: Table) -> str:
    return str(raw_path(settings.raw, table))


def _contended(work: Callable[[], int]) -> int:
    try:
        return work()
    except CommitFailedError as error:
        raise LakehouseError(
            f"others keep committing to the table: {error}",
            "stop what lands, then erase again: it goes on where it was",
        ) from None


# Rows


def _names_person(table: Table, person: Person) -> str:
    """SQL: whether a row names the person, by its id or by its former key."""
    columns = subject_columns(table, person.subject)
    told = [f"cast({identifier(c.name)} as varchar) = {literal(person.id)}" for c in columns]
    return f"coalesce({' or '.join(told)}, false) or {_was_person(table, person)}"


def _was_person(table: Table, person: Person) -> str:
    """SQL: whether the former key of a row names the person."""
    told = [
        f"_former_key[{table.key.index(c.name) + 1}] = {literal(person.id)}"
        for c in subject_columns(table, person.subject)
        if c.name in table.key
    ]
    return f"coalesce({' or '.join(told) or 'false'}, false)"


def _hashes_of(
    connection: duckdb.DuckDBPyConnection, settings: Settings, table: Table, person: Person
) -> set[str]:
    """Keyed hashes in the person's rows: by them the search in the end finds what was missed."""
    columns = [c.name for c in table.landed_columns if c.pii == "hash"]
    if not columns:
        return set()
    rows = connection.execute(
        f"select distinct unnest([{', '.join(map(identifier, columns))}]) as hash "
        f"from delta_scan({literal(_path(settings, table))}) where {_names_person(table, person)}"
    ).fetchall()
    return {value for (value,) in rows if value}


@again_if_overtaken
def _erase_rows(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    table: Table,
    person: Person,
    run_id: str,
) -> int:
    """Rewrite the raw table, upon the version read; returns the rows that named the person."""
    found = DeltaTable(_path(settings, table))
    refuse_other_writer(found, LAKEHOUSE)
    scan = delta_scan(found)
    ((rows,),) = connection.execute(
        f"select count(*) from {scan} where {_names_person(table, person)}"
    ).fetchall()
    if not rows:
        return 0
    schema = pa.schema(found.schema())
    values = {name: identifier(name) for name in schema.names}
    values["_former_key"] = f"case when not {_was_person(table, person)} then _former_key end"
    for column in subject_columns(table, person.subject):
        is_person = f"cast({identifier(column.name)} as varchar) = {literal(person.id)}"
        for name, sql in erased_values(table, column).items():
            values[name] = f"case when {is_person} then {sql} else {values[name]} end"
    selected = ", ".join(f"{sql} as {identifier(name)}" for name, sql in values.items())
    reader = connection.execute(f"select {selected} from {scan}").to_arrow_reader(_ROWS_A_PIECE)
    write_deltalake(
        found,
        pa.RecordBatchReader.from_batches(schema, (batch.cast(schema) for batch in reader)),
        mode="overwrite",
        partition_by=PARTITIONS,
        writer_properties=COMPRESSED,
        commit_properties=CommitProperties(
            custom_metadata={"run_id": run_id}, max_commit_retries=0
        ),
    )
    return int(rows)


@again_if_overtaken
def _erase_inferred(settings: Settings, name: str, person: Person, run_id: str) -> int:
    """Delete what was predicted for the person: unlike a fact, it is of use to nobody else."""
    path = str(inference_path(settings.raw, name))
    if not DeltaTable.is_deltatable(path):
        return 0
    told = DeltaTable(path).delete(
        f"client_id = {int(person.id)}",
        commit_properties=CommitProperties(
            custom_metadata={"run_id": run_id}, max_commit_retries=0
        ),
    )
    return int(told["num_deleted_rows"])


# Dead letters


@again_if_overtaken
def _erase_letters(
    settings: Settings, tables: Sequence[Table], person: Person, masker: Masker, run_id: str
) -> int:
    """Empty the letters that name the person; their places stay counted."""
    path = str(settings.raw / dead_letters.FOLDER)
    if not DeltaTable.is_deltatable(path):
        return 0
    found = DeltaTable(path)
    letters = read(found, dead_letters.SCHEMA).to_pylist()
    emptied = 0
    for letter in letters:
        line = masker.unseal(letter["sealed_line"]).decode(errors="replace")
        if any(person in mentioned(table, line, person.subject) for table in tables):
            letter |= {"sealed_line": masker.seal(b""), "reason": REASON}
            emptied += 1
    if emptied:
        write_deltalake(
            found,
            pa.Table.from_pylist(letters, dead_letters.SCHEMA),
            mode="overwrite",
            writer_properties=COMPRESSED,
            commit_properties=CommitProperties(
                custom_metadata={"run_id": run_id}, max_commit_retries=0
            ),
        )
    return emptied
