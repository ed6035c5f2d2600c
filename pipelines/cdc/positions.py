"""Where a change stands in its source's log: fixed-width text that sorts as the source committed.

Each expression reads the struct `source` of a Debezium envelope, all of whose fields are text, and
is NULL where the envelope does not tell the position.
"""

from __future__ import annotations

from pipelines.contract import Connector

_COMMON_FIELDS = ("ts_us", "ts_ms", "snapshot")
_FIELDS: dict[Connector, tuple[str, ...]] = {
    "postgres": ("sequence", "lsn"),
    "sqlserver": ("commit_lsn", "change_lsn", "event_serial_no"),
    "mariadb": ("file", "pos", "row"),
}


def source_fields(connector: Connector) -> tuple[str, ...]:
    """The fields of a connector's `source` block that tell time, snapshot and position."""
    return _COMMON_FIELDS + _FIELDS[connector]


def is_snapshot(source: str) -> str:
    """SQL: whether the event is a snapshot read: true, first, last, incremental and their like."""
    return f"coalesce({source}.snapshot, 'false') <> 'false'"


def position(connector: Connector, source: str) -> str:
    """SQL: the position of a change, comparable as text between events of one source table."""
    return {"postgres": _postgres, "sqlserver": _sqlserver, "mariadb": _mariadb}[connector](source)


def _number(text: str) -> str:
    return f"format('{{:020d}}', try_cast({text} as ubigint))"


def _postgres(source: str) -> str:
    # The record's LSN alone would let a snapshot read hide an update that committed after it:
    # sequence[0], the last commit the connector had seen, comes first (null in a first snapshot).
    last_commit = f"split_part({source}.sequence, '\"', 2)"
    last_commit = (
        f"case when {source}.sequence is null or starts_with({source}.sequence, '[null') "
        f"then '{'0' * 20}' else {_number(last_commit)} end"
    )
    snapshot = f"case when {is_snapshot(source)} then '.0.' else '.1.' end"
    lsn = (
        f"case when {source}.lsn is null and {is_snapshot(source)} "
        f"then '{'0' * 20}' else {_number(f'{source}.lsn')} end"
    )
    return f"{last_commit} || {snapshot} || {lsn}"


def _sqlserver(source: str) -> str:
    # LSNs are hexadecimal groups of fixed width; a snapshot read has no change_lsn and sorts first.
    change = f"lower(coalesce({source}.change_lsn, '00000000:00000000:0000'))"
    return f"lower({source}.commit_lsn) || '.' || {change} || '.' || " + _number(
        f"coalesce({source}.event_serial_no, '0')"
    )


def _mariadb(source: str) -> str:
    # mariadb-bin.999999 is followed by mariadb-bin.1000000: its number decides, not its text.
    file = _number(f"regexp_extract({source}.file, '([0-9]+)$', 1)")
    return f"{file} || '.' || {_number(f'{source}.pos')} || '.' || " + _number(
        f"coalesce({source}.row, '0')"
    )
