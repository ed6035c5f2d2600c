"""Bringing raw tables to their contracts: wider types, new columns, and values kept for these.

A table is rewritten in one commit, or only told of its new columns. Such a commit must stand right
upon the version that was read: delta-rs would let pass an append that came between, in the former
types and with its values unread, and a compaction, whose rows would be doubled. An append that
meets a new schema is refused by delta-rs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import structlog
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from pipelines.cdc.columns import any_of, is_unavailable, plain_text, typed_value
from pipelines.cdc.masking import Masker
from pipelines.contract import Column, Contracts, Table
from pipelines.errors import LakehouseError
from pipelines.lake.sql import delta_scan, identifier, literal
from pipelines.lake.tables import (
    COMPRESSED,
    CONTRACT,
    LANDING_COLUMNS,
    PARTITIONS,
    again_if_overtaken,
    arrow_type,
    contract_mark,
    raw_path,
)
from pipelines.lake.writer import LAKEHOUSE, Writer, refuse_other_writer

log = structlog.get_logger()

_INTEGER_DIGITS = {pa.int16(): 5, pa.int32(): 10, pa.int64(): 19}
_ROWS_A_PIECE = 100_000


def is_wider(former: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether every value of a type is, unchanged, one of another type."""
    if former in _INTEGER_DIGITS and wanted in _INTEGER_DIGITS:
        return _INTEGER_DIGITS[wanted] > _INTEGER_DIGITS[former]
    if not pa.types.is_decimal(wanted):
        return False
    whole = wanted.precision - wanted.scale
    if pa.types.is_decimal(former):
        fits = wanted.scale >= former.scale and whole >= former.precision - former.scale
        return bool(fits and wanted != former)
    return bool(former in _INTEGER_DIGITS and whole >= _INTEGER_DIGITS[former])


def evolve_raw_tables(
    raw: Path,
    contracts: Contracts,
    connection: duckdb.DuckDBPyConnection,
    masker: Masker,
    run_id: str,
    writer: Writer = LAKEHOUSE,
) -> None:
    """Bring every raw table to its contract; costs nothing where it has been.

    Raises:
        LakehouseError: a table is another writer's; a contract gives a landed column a type that
            is not wider, or no longer names it; a table has rows that the masking key does not
            open; or others keep committing to a table.
    """
    masker.install(connection)
    for table in contracts.tables:
        try:
            _evolve(raw_path(raw, table), table, connection, masker, run_id, writer)
        except CommitFailedError as error:
            raise LakehouseError(
                f"{table.topic} is to be brought to its new contract, but another process keeps "
                f"committing to it: {error}",
                "stop the landings of this topic, then land again",
            ) from None


def refuse_changed_contract(found: DeltaTable, table: Table) -> None:
    """Keep a landing that began before its table was brought to another contract from going on.

    Raises:
        LakehouseError: the table was brought to another contract.
    """
    if found.transaction_version(CONTRACT) != contract_mark(table):
        raise LakehouseError(
            f"the contract of {table.topic} has changed since this landing began",
            "land again: nothing is lost or doubled",
        )


@again_if_overtaken
def _evolve(
    path: Path,
    table: Table,
    connection: duckdb.DuckDBPyConnection,
    masker: Masker,
    run_id: str,
    writer: Writer,
) -> None:
    found = DeltaTable(str(path))
    refuse_other_writer(found, writer)
    present = pa.schema(found.schema())
    wanted = _wanted(present, table)
    if found.transaction_version(CONTRACT) == contract_mark(table) and wanted == present:
        return
    former = delta_scan(found)
    rows = _fill(former, table, present, connection, masker)
    is_widened = any(wanted.field(name).type != present.field(name).type for name in present.names)
    commit = CommitProperties(
        custom_metadata={"schema_version": table.version, "run_id": run_id},
        app_transactions=[Transaction(CONTRACT, contract_mark(table))],
        max_commit_retries=0,
    )
    if rows or is_widened:
        write_deltalake(
            found,
            _rewritten(former, table, present, wanted, connection, has_filled=rows > 0),
            mode="overwrite",
            schema_mode="overwrite",
            partition_by=PARTITIONS,
            writer_properties=COMPRESSED,
            commit_properties=commit,
        )
        log.info("raw table rewritten", topic=table.topic, filled_rows=rows)
    elif len(wanted) > len(present):
        added = pa.schema([f for f in wanted if f.name not in present.names])
        found.alter.add_columns(Schema.from_arrow(added).fields, commit_properties=commit)
    else:
        write_deltalake(found, present.empty_table(), mode="append", commit_properties=commit)


def _wanted(present: pa.Schema, table: Table) -> pa.Schema:
    """The schema of a raw table with what its contract adds and widens."""
    types = {column.name: arrow_type(column) for column in table.landed_columns}
    fields = []
    for field in present:
        where = f"{table.file}, table {table.name}, column {field.name}"
        if field.name in LANDING_COLUMNS.names:
            fields.append(field)
            continue
        if field.name not in types:
            raise LakehouseError(
                f"{where}: the raw table holds it, the contract no longer lands it",
                "put the column back as it was, with `dropped: true` if the source no longer sends "
                "it; or land the table anew under another name",
            )
        wanted = types[field.name]
        if wanted != field.type and not is_wider(field.type, wanted):
            raise LakehouseError(
                f"{where}: the contract says {wanted}, the raw table holds {field.type}, "
                "which is not narrower",
                "put the former type back, or land the table anew under another name",
            )
        fields.append(pa.field(field.name, wanted))
    added = [pa.field(n, t) for n, t in types.items() if n not in present.names]
    lacking = [field for field in LANDING_COLUMNS if field.name not in present.names]
    return pa.schema([*fields, *added, *lacking])


# Values kept in _extra


def _fill(
    former: str,
    table: Table,
    present: pa.Schema,
    connection: duckdb.DuckDBPyConnection,
    masker: Masker,
) -> int:
    """Make the table `filled` of the rows whose `_extra` holds values of the contract's columns.

    Its columns: partition_no, offset_no, `v_<name>` the values, `gone` the columns whose value was
    the marker of an unavailable one, and `rest` of `_extra`. What no column can hold (a value that
    does not fit, an infinite or finer time) stays in `_extra`.

    Returns:
        the number of these rows.
    """
    connection.execute("drop table if exists filled")
    if "_extra" not in present.names:
        return 0
    typed = _typed_extra_sql(
        table, [c for c in table.landed_columns if c.name not in present.names]
    )
    misfits: dict[str, int] = {}
    count = 0
    reader = connection.cursor().execute(
        f"select _partition, _offset, _extra from {former} where _extra is not null"
    )
    for batch in reader.to_arrow_reader(_ROWS_A_PIECE):
        texts = map(masker.unseal_json, batch.column("_extra").to_pylist())
        opened = [batch.column("_partition"), batch.column("_offset"), pa.array(texts, pa.string())]
        connection.register(
            "opened", pa.table(opened, names=["partition_no", "offset_no", "extra"])
        )
        connection.execute(f"create or replace temp table typed_extra as {typed}")
        connection.unregister("opened")
        for name, rows in connection.execute(
            """select name, count(*) from (select unnest(misfits) as name from typed_extra)
            group by name"""
        ).fetchall():
            misfits[name] = misfits.get(name, 0) + rows
        found = connection.execute(
            "select * exclude (misfits, is_changed) from typed_extra where is_changed"
        ).to_arrow_table()
        if table.has_pii:
            rest = [text and masker.seal_text(text) for text in found["rest"].to_pylist()]
            place = found.schema.get_field_index("rest")
            found = found.set_column(place, "rest", pa.array(rest, pa.string()))
        connection.register("changed", found)
        connection.execute(
            "insert into filled from changed"
            if count
            else "create or replace temp table filled as from changed"
        )
        connection.unregister("changed")
        count += len(found)
    for name, rows in sorted(misfits.items()):
        log.warning("values stay in _extra", topic=table.topic, column=name, rows=rows)
    return count


def _typed_extra_sql(table: Table, added: Sequence[Column]) -> str:
    """SQL of the rows of `opened` with their values typed, and what is left of `extra`."""
    columns = table.landed_columns
    names = ", ".join(literal(column.name) for column in table.columns)
    texts = ", ".join(
        f"json_extract_string(extra, {literal(_path(column))}) as {identifier('s_' + column.name)}"
        for column in columns
    )
    plain = ", ".join(plain_text(column, table, ()) for column in columns)
    typed = ", ".join(typed_value(column) for column in columns)
    fits = ", ".join(
        f"{_has(column)} and not {_refused(column, table)} as {identifier('fits_' + column.name)}"
        for column in columns
    )
    forgotten = [
        f"case when {identifier('fits_' + c.name)} and {identifier('x_' + c.name)} is null "
        f"then {_forget(c)} end"
        for c in columns
    ] + [f"case when {_has(c)} then {_forget(c)} end" for c in table.columns if c.pii == "drop"]
    values = ", ".join(
        f"case when {identifier('fits_' + c.name)} then {identifier('v_' + c.name)} end "
        f"as {identifier('v_' + c.name)}"
        for c in columns
    )
    return f"""
    with keyed as (
        select *, json_keys(extra) as names from opened
    ), told as (
        select *, {texts} from keyed where list_has_any(names, [{names}])
    ), plain as (
        select *, {plain} from told
    ), typed as (
        select *, {typed} from plain
    ), judged as (
        select *, {fits} from typed
    ), sorted as (
        select *, {_names_where(forgotten)} as forgotten from judged
    )
    select partition_no, offset_no, {values},
        {
        _names_where(
            [
                f"case when {identifier('fits_' + c.name)} and {is_unavailable(c, table)} "
                f"then {literal(c.name)} end"
                for c in columns
                if c.toast
            ]
        )
    } as gone,
        nullif(cast(json_merge_patch(
            extra, '{{' || array_to_string(forgotten, ',') || '}}') as varchar), '{{}}') as rest,
        {
        _names_where(
            [
                f"case when {_has(c)} and not {identifier('fits_' + c.name)} "
                f"then {literal(c.name)} end"
                for c in columns
            ]
        )
    } as misfits,
        -- A finer time stays where it is; it is news for a new column only.
        len(forgotten) > 0 or {_any_value(added)} as is_changed
    from sorted"""


def _path(column: Column) -> str:
    return f'$."{column.name}"'


def _forget(column: Column) -> str:
    return literal(f'"{column.name}":null')


def _has(column: Column) -> str:
    return f"list_contains(names, {literal(column.name)})"


def _refused(column: Column, table: Table) -> str:
    """SQL: whether the landing, too, would not take this value."""
    bad = identifier("bad_" + column.name)
    return f"({bad} or {is_unavailable(column, table)})" if column.toast is None else bad


def _any_value(columns: Sequence[Column]) -> str:
    return any_of(
        f"({identifier('fits_' + c.name)} and {identifier('v_' + c.name)} is not null)"
        for c in columns
    )


def _names_where(cases: list[str]) -> str:
    if not cases:
        return "[]::varchar[]"
    return f"list_filter([{', '.join(cases)}], lambda name: name is not null)"


# Rewriting


def _rewritten(
    former: str,
    table: Table,
    present: pa.Schema,
    wanted: pa.Schema,
    connection: duckdb.DuckDBPyConnection,
    *,
    has_filled: bool,
) -> pa.RecordBatchReader:
    by_name = {column.name: column for column in table.landed_columns}

    def value(name: str) -> str:
        own = f"r.{identifier(name)}" if name in present.names else "null"
        if name in by_name:
            column = by_name[name]
            if not column.pii:
                target = "timestamptz" if column.type == "timestamp" else column.type
                own = f"cast({own} as {target})"
            return f"coalesce(f.{identifier('v_' + name)}, {own})" if has_filled else own
        if has_filled and name == "_extra":
            return "case when f.offset_no is null then r._extra else f.rest end"
        if has_filled and name == "_unavailable":
            return "list_concat(r._unavailable, coalesce(f.gone, []))"
        return own

    columns = ", ".join(f"{value(name)} as {identifier(name)}" for name in wanted.names)
    joined = (
        "left join filled as f on r._partition = f.partition_no and r._offset = f.offset_no"
        if has_filled
        else ""
    )
    found = connection.execute(f"select {columns} from {former} as r {joined}")
    batches: Iterator[pa.RecordBatch] = (
        pa.record_batch(
            [_as(column, field.type) for column, field in zip(batch.columns, wanted, strict=True)],
            schema=wanted,
        )
        for batch in found.to_arrow_reader(_ROWS_A_PIECE)
    )
    return pa.RecordBatchReader.from_batches(wanted, batches)


def _as(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    # A column that the table lacks comes as nulls of whatever type.
    return (
        pa.nulls(len(column), wanted) if column.null_count == len(column) else column.cast(wanted)
    )
