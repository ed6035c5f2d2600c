"""Comparing contracts with what arrived: fields, types and values that they do not tell of.

Nothing of a value leaves this module, only names, types and counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from pydantic import ValidationError

from pipelines.cdc import dead_letters
from pipelines.cdc.columns import exact_cast, is_unavailable
from pipelines.cdc.dead_letters import Choice
from pipelines.cdc.decode import DRIFT, Decoder
from pipelines.cdc.encodings import decoded
from pipelines.cdc.evolve import is_wider
from pipelines.cdc.masking import Masker, load_masker
from pipelines.contract import Column, Contracts, Table
from pipelines.contract_edit import edited, meta_of
from pipelines.errors import UsageError
from pipelines.lake.duck import connect
from pipelines.lake.sql import identifier, literal
from pipelines.lake.tables import arrow_type, raw_path
from pipelines.settings import Settings

UNKNOWN, WRONG_TYPE, UNAVAILABLE, NOT_SENT = (
    "unknown field", "wrong type", "unavailable value", "not sent any more",
)  # fmt: skip
DRIFT_UNKNOWN, DRIFT_NOT_SENT = "drift: unknown field", "drift: not sent"

_NEWEST_BATCHES = 3
_ROWS_A_PIECE = 50_000
_GREATEST_PRECISION = 38
_USUAL_PRECISION = 18
_INTEGERS = ("smallint", "integer", "bigint")
_NUMBER = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?"
_FLOAT = _NUMBER + r"([eE][-+]?[0-9]+)?"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}Z?"
_TIMESTAMP = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}.*"


@dataclass(frozen=True)
class Finding:
    """One difference between a contract and what arrived.

    Attributes:
        table: its topic.
        count: rows or dead letters that show it.
        data_type: of the column to be added or widened; None where only a person can decide.
    """

    table: str
    column: str
    finding: str
    count: int
    proposal: str
    data_type: str | None = None


def chosen(contracts: Contracts, names: Sequence[str]) -> list[Table]:
    """The tables named, by topic or by the table's own name; all where none is named.

    Raises:
        UsageError: a name is no table's.
    """
    for name in names:
        if not any(name in (table.topic, table.name) for table in contracts.tables):
            raise UsageError(
                f"no contract for {name}",
                f"name one of {', '.join(sorted(contracts.by_topic))}",
            )
    return [t for t in contracts.tables if not names or {t.topic, t.name} & set(names)]


def check(settings: Settings, tables: Sequence[Table]) -> list[Finding]:
    """Compare contracts with raw tables and open dead letters.

    Raises:
        LakehouseError: the masking key is missing or another one.
    """
    landed = [t for t in tables if DeltaTable.is_deltatable(str(raw_path(settings.raw, t)))]
    if not landed:
        return []
    masker = load_masker(settings, create=False)
    with connect(settings) as connection:
        return [
            finding
            for table in landed
            for finding in _Check(settings.raw, table, connection, masker).findings()
        ]


def write(project_dir: Path, table: Table, findings: Sequence[Finding]) -> list[Finding]:
    """Write new columns and wider types into the contract; returns the findings that this ends.

    A new column of a table with personal data is hashed: a person may lift that later, whereas a
    value that has landed in the clear cannot be taken back.

    Raises:
        LakehouseError: with the change the contract would not hold; the file is left as it was.
    """
    written = [f for f in findings if f.table == table.topic and f.data_type]
    if not written:
        return []
    with edited(project_dir, table) as entry:
        by_name = {column["name"]: column for column in entry["columns"]}
        for finding in written:
            column = by_name.get(finding.column)
            if column is None:
                column = {"name": finding.column, "data_type": finding.data_type}
                if table.has_pii:
                    meta_of(column)["pii"] = "hash"
                entry["columns"].append(column)
                by_name[finding.column] = column
            column["data_type"] = finding.data_type
    return written


class _Check:
    def __init__(
        self, raw: Path, table: Table, connection: duckdb.DuckDBPyConnection, masker: Masker
    ) -> None:
        self._raw = raw
        self._table = table
        self._path = str(raw_path(raw, table))
        self._connection = connection
        self._masker = masker
        # Every value as its text, so that letters of any of these reasons can be read.
        as_texts = tuple(
            Column(
                name=c.name, type="varchar", pii="drop" if c.pii == "drop" else None, toast=False
            )
            for c in table.columns
        )
        texts = table.model_copy(update={"columns": as_texts, "on_drift": "evolve"})
        self._decoder = Decoder(connection, masker, table.topic, texts)

    def findings(self) -> list[Finding]:
        self._connection.execute(
            """create or replace temp table arrived (
                finding varchar, name varchar, rows bigint, told bigint, booleans boolean,
                bigints boolean, numbers boolean, has_fractions_as_numbers boolean,
                floats boolean, dates boolean, timestamps boolean, whole bigint, fraction bigint
            )"""
        )
        for extras in self._extras():
            self._collect(UNKNOWN, extras)
        found = self._of_letters()
        return [*self._unknown_fields(), *found, *self._not_sent()]

    def _extras(self) -> Iterator[pa.Array]:
        """`_extra` of the raw rows that have one, opened."""
        reader = self._connection.cursor().execute(
            "select _extra from delta_scan(?) where _extra is not null", [self._path]
        )
        for batch in reader.to_arrow_reader(_ROWS_A_PIECE):
            yield pa.array(map(self._masker.unseal_json, batch.column(0).to_pylist()), pa.string())

    def _collect(self, finding: str, extras: pa.Array) -> None:
        """Add to `arrived` what is known of the fields that the contract does not name."""
        known = ", ".join(literal(column.name) for column in self._table.columns)
        self._connection.register("opened", pa.table({"extra": extras}))
        self._connection.execute(
            f"""insert into arrived
            with field as (
                select j.key as name, j.type as kind, j.value ->> '$' as text
                from opened, json_each(opened.extra) as j
                where j.key not in ({known})
            )
            select {literal(finding)}, name, count(*), count(text),
                bool_and(text in ('true', 'false')), bool_and({_fits("bigint")}),
                bool_and(regexp_full_match(text, {literal(_NUMBER)})),
                coalesce(bool_or(kind = 'DOUBLE'), false),
                bool_and(regexp_full_match(text, {literal(_FLOAT)}) and {_fits("double")}),
                bool_and(regexp_full_match(text, {literal(_DATE)}) and {_fits("date")}),
                bool_and(regexp_full_match(text, {literal(_TIMESTAMP)}) and {_fits("timestamp")}),
                max({_WHOLE_DIGITS}), max({_FRACTION_DIGITS})
            from field group by name"""
        )
        self._connection.unregister("opened")

    def _unknown_fields(self) -> list[Finding]:
        rows = self._connection.execute(
            """select name, sum(told) > 0, bool_and(booleans), bool_and(bigints), bool_and(numbers),
                bool_or(has_fractions_as_numbers), bool_and(floats), bool_and(dates),
                bool_and(timestamps), max(whole), max(fraction) from arrived group by name"""
        ).fetchall()
        types = {name: _inferred(*told) for name, *told in rows}
        counted = self._connection.execute(
            "select finding, name, sum(rows) from arrived group by all order by all desc"
        ).fetchall()
        return [
            self._unknown_field(finding, name, int(rows), types[name])
            for finding, name, rows in counted
        ]

    def _unknown_field(self, finding: str, name: str, rows: int, data_type: str) -> Finding:
        if not _can_be_added(self._table, name, data_type):
            proposal = "cannot be a column under this name; only a person can decide"
            return Finding(self._table.topic, name, finding, rows, proposal)
        proposal = f"add it as {data_type}"
        if self._table.has_pii:
            proposal += " with pii: hash"
        return Finding(self._table.topic, name, finding, rows, proposal, data_type)

    def _of_letters(self) -> list[Finding]:
        letters = dead_letters.find(self._raw, Choice(topic=self._table.topic), with_lines=True)
        codes = pa.array(["wrong_type", "unavailable_value", DRIFT])
        letters = letters.filter(pc.is_in(letters["reason_code"], codes))
        counted: dict[tuple[str, str, str | None], list[int]] = {}
        for start in range(0, len(letters), _ROWS_A_PIECE):
            piece = letters.slice(start, _ROWS_A_PIECE)
            lines = [self._masker.unseal(x).decode() for x in piece["sealed_line"].to_pylist()]
            numbers = pa.array(range(len(lines)), pa.int64())
            self._decoder.decode(pa.array(lines, pa.large_string()), numbers)
            told = {"number": numbers, "code": piece["reason_code"], "why": piece["reason"]}
            self._connection.register("letters", pa.table(told))
            self._connection.execute(
                """create or replace temp table letter as
                select * from decoded join letters on number = line_number"""
            )
            self._connection.unregister("letters")
            self._collect_drift()
            for column in self._table.landed_columns:
                for finding, (count, whole, fraction) in self._of_column(column):
                    sums = counted.setdefault((column.name, *finding), [0, 0, 0])
                    sums[0] += count
                    sums[1:] = max(sums[1], whole), max(sums[2], fraction)
        return [self._letter_finding(*key, *sums) for key, sums in sorted(counted.items(), key=str)]

    def _collect_drift(self) -> None:
        extras = self._connection.execute(
            f"select _extra from letter where code = {literal(DRIFT)} and _extra is not null"
        ).to_arrow_table()["_extra"]
        self._collect(DRIFT_UNKNOWN, extras)

    def _of_column(
        self, column: Column
    ) -> list[tuple[tuple[str, str | None], tuple[int, int, int]]]:
        """What the table `letter` tells of a column: finding and kind → count, and its digits."""
        name = identifier("v_" + column.name)
        encoding = literal(column.encoding) if column.encoding else None
        _, exact = exact_cast(column, "text")
        marked = is_unavailable(column, self._table)
        rows = self._connection.execute(
            f"""with told as (
                select *, {name} as {identifier("s_" + column.name)},
                    {decoded(column, name, encoding)} as text
                from letter
            ), judged as (
                select *, case
                    when code = 'wrong_type' and contains(why, {literal(column.name + ": ")})
                        and text is not null and not coalesce({exact or "true"}, false)
                        then {literal(WRONG_TYPE)}
                    when code = 'unavailable_value' and {marked} then {literal(UNAVAILABLE)}
                    when {"false" if column.dropped else "true"} and code = '{DRIFT}'
                        and list_contains(_unavailable, {literal(column.name)})
                        then {literal(DRIFT_NOT_SENT)} end as finding,
                    regexp_full_match(text, {literal(_NUMBER)}) as is_number
                from told
            )
            select finding, finding = {literal(WRONG_TYPE)} and is_number, count(*),
                coalesce(max({_WHOLE_DIGITS}) filter (is_number), 0),
                coalesce(max({_FRACTION_DIGITS}) filter (is_number), 0)
            from judged where finding is not null group by all order by all"""
        ).fetchall()
        return [
            ((finding, "number" if is_number else None), (count, whole, fraction))
            for finding, is_number, count, whole, fraction in rows
        ]

    def _letter_finding(
        self, name: str, finding: str, kind: str | None, count: int, whole: int, fraction: int
    ) -> Finding:
        column = next(c for c in self._table.columns if c.name == name)
        wider = _wider_type(column, whole, fraction) if kind == "number" else None
        proposal = {
            WRONG_TYPE: f"widen it to {wider}" if wider else "only a person can decide",
            UNAVAILABLE: "mark it `toast: true`",
            DRIFT_NOT_SENT: "mark it `dropped: true`",
        }[finding]
        return Finding(self._table.topic, name, finding, count, proposal, wider)

    def _not_sent(self) -> list[Finding]:
        """Columns that no row of the newest batches brought."""
        own = [
            column
            for column in self._table.landed_columns
            if column.name not in self._table.key and not column.dropped
        ]
        found = []
        for column in own:
            # Updates leave values out of TOAST columns, creates and reads do not.
            ops = "('c', 'r')" if column.toast else "('c', 'u', 'r')"
            ((rows, brought),) = self._connection.execute(
                f"""select count(*), count(*) filter (
                        not list_contains(_unavailable, {literal(column.name)}))
                from delta_scan($path) where _op in {ops} and _batch_id in (
                    select distinct _batch_id from delta_scan($path)
                    order by _batch_id desc limit {_NEWEST_BATCHES})""",
                {"path": self._path},
            ).fetchall()
            if rows and not brought:
                found.append(
                    Finding(
                        self._table.topic, column.name, NOT_SENT, rows, "mark it `dropped: true`"
                    )
                )
        return found


_WHOLE_DIGITS = "length(ltrim(split_part(text, '.', 1), '-0'))"
_FRACTION_DIGITS = "length(split_part(text, '.', 2))"


def _can_be_added(table: Table, name: str, data_type: str) -> bool:
    columns = [*(c.model_dump() for c in table.columns), {"name": name, "type": data_type}]
    try:
        Table(**table.model_dump(exclude={"columns"}), columns=columns)
    except ValidationError:
        return False
    return True


def _fits(data_type: str) -> str:
    """SQL: whether `text` lands in a column of this type."""
    _, exact = exact_cast(Column(name="text", type=data_type), "text")
    return f"coalesce({exact}, false)"


def _inferred(
    is_told: bool,
    booleans: bool,
    bigints: bool,
    numbers: bool,
    has_fractions_as_numbers: bool,
    floats: bool,
    dates: bool,
    timestamps: bool,
    whole: int,
    fraction: int,
) -> str:
    """The first type that holds all values of a field. Decimals come as text, floats as numbers."""
    decimal = _decimal(whole or 0, fraction or 0) if numbers else None
    holds = {
        "varchar": not is_told,
        "boolean": booleans,
        "bigint": bigints,
        str(decimal): decimal is not None and not has_fractions_as_numbers,
        "double": floats,
        "date": dates,
        "timestamp": timestamps,
    }
    return next((name for name, is_held in holds.items() if is_held), "varchar")


def _decimal(whole: int, fraction: int) -> str | None:
    if whole + fraction > _GREATEST_PRECISION:
        return None
    usual = whole + fraction <= _USUAL_PRECISION
    return f"decimal({_USUAL_PRECISION if usual else _GREATEST_PRECISION},{fraction})"


def _wider_type(column: Column, whole: int, fraction: int) -> str | None:
    """The narrowest type that holds a column's values and numbers of so many digits."""
    former = arrow_type(column)
    candidates = list(_INTEGERS) if not fraction else []
    scale = max(fraction, column.decimal[1] if column.decimal else 0)
    candidates += [f"decimal({p},{scale})" for p in range(scale + 1, _GREATEST_PRECISION + 1)]
    for name in candidates:
        candidate = Column(name=column.name, type=name)
        held = candidate.decimal or ({"smallint": 4, "integer": 9, "bigint": 18}[name], 0)
        if is_wider(former, arrow_type(candidate)) and held[0] - held[1] >= whole:
            return name
    return None


def as_row(finding: Finding) -> dict[str, Any]:
    """The finding as it is printed."""
    return {n: v for n, v in vars(finding).items() if n != "data_type"}
