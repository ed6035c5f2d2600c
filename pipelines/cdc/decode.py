"""Decoding in bulk: messages of a topic become typed rows, each with exactly one disposition.

One SQL statement does it, generated from the contract: DuckDB parses the JSON as text, and each
value is typed under a check that refuses whatever a cast would silently round, cut or null.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import duckdb
import pyarrow as pa

from pipelines.cdc import positions
from pipelines.cdc.masking import Masker
from pipelines.contract import Column, Table

# What can become of a delivered message; each has exactly one.
LANDED, TRUNCATE, DEAD, TOMBSTONE = "landed", "truncate", "dead", "tombstone"
HEARTBEAT, MESSAGE, TXMETA, SCHEMA_CHANGE = "heartbeat", "message", "txmeta", "schema_change"
DISPOSITIONS = (
    LANDED, TRUNCATE, DEAD, TOMBSTONE, HEARTBEAT, MESSAGE, TXMETA, SCHEMA_CHANGE,
)  # fmt: skip

_ROWS_A_PIECE = 8192
# What every reader can hold: a PostgreSQL date may be infinite, or of the year 5,874,897.
_FIRST_DAY, _AFTER_LAST_DAY = "0001-01-01", "10000-01-01"

_ENVELOPE = {
    "topic": "VARCHAR",
    "partition": "INTEGER",
    "offset": "BIGINT",
    "encoding": "VARCHAR",
    "key": "VARCHAR",
    "payload": "VARCHAR",
}


def control_kind(topic: str, servers: set[str]) -> str | None:
    """The disposition of every message of a Debezium control topic, None for other topics."""
    if topic.startswith("__debezium-heartbeat."):
        return HEARTBEAT
    if topic in servers:
        return SCHEMA_CHANGE
    if topic.removesuffix(".transaction") in servers and topic.endswith(".transaction"):
        return TXMETA
    return None


class Decoder:
    """Turns messages of one topic into a DuckDB temporary table `decoded`.

    Its columns: `line_number, topic_name, partition_no, offset_no, disposition, reason_code,
    reason, line` (the text of dead letters only), then those of the landing, and `v_<name>` for
    each column of the contract: the prefix keeps apart what a source calls `reason` or `line`.

    Args:
        table: the contract, or None where the topic has none.
        control: the disposition of all its messages if it is a control topic.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        masker: Masker,
        topic: str,
        table: Table | None,
        control: str | None = None,
    ) -> None:
        self._connection = connection
        masker.install(connection)
        self._topic = topic
        self._table = table
        self._control = control
        self._lines_sql = self._sql(_envelope_sql(topic))

    def decode(self, text: pa.Array, numbers: pa.Array) -> None:
        """Replace `decoded` by the rows of these lines."""
        lines = pa.table({"line_number": numbers, "line": text})
        self._replace_decoded("lines", lines, self._lines_sql)

    def decode_messages(self, messages: pa.Table, line_of: Callable[[int, int], str]) -> None:
        """Replace `decoded` by the rows of messages whose envelope is already taken apart.

        Args:
            messages: columns `partition`, `offset`, `key` and `payload` (bytes). The offset stands
                for the line number.
            line_of: the message at a partition and offset as a line; asked for dead letters only.
        """
        self._replace_decoded("messages", messages, self._sql(_MESSAGES_SQL))
        dead = self._connection.execute(
            f"select partition_no, offset_no from decoded where disposition = {_text(DEAD)}"
        ).fetchall()
        if not dead:
            return
        written = pa.table(
            {
                "partition": pa.array([partition for partition, _ in dead], pa.int32()),
                "offset": pa.array([offset for _, offset in dead], pa.int64()),
                "line": pa.array([line_of(*place) for place in dead], pa.large_string()),
            }
        )
        self._connection.register("written", written)
        try:
            self._connection.execute(
                """update decoded set line = w.line from written as w
                where partition_no = w."partition" and offset_no = w."offset" """
            )
        finally:
            self._connection.unregister("written")

    def _sql(self, envelope: str) -> str:
        if self._table is not None:
            return _table_sql(self._table, envelope)
        if self._control is not None:
            return _contractless_sql(self._topic, self._control, None, envelope)
        return _contractless_sql(self._topic, DEAD, "unknown_topic", envelope)

    def _replace_decoded(self, name: str, given: pa.Table, sql: str) -> None:
        # In small pieces DuckDB's threads share the work; one large piece takes 2.5 times as long.
        pieces = pa.Table.from_batches(given.to_batches(_ROWS_A_PIECE), given.schema)
        self._connection.register(name, pieces)
        try:
            self._connection.execute(f"create or replace temp table decoded as {sql}")
        finally:
            self._connection.unregister(name)


def _struct(fields: dict[str, object]) -> str:
    return "'" + json.dumps(fields) + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _envelope_sql(topic: str) -> str:
    """CTE `message`: the line taken apart, with the first problem found in it."""
    return f"""
    envelope as (
        select line_number, line, try(json_transform(line, {_struct(dict(_ENVELOPE))})) as e
        from lines
    ), message as (
        select
            line_number, line, e.key as key_text,
            -- Only coordinates within this topic are coordinates: those of another one must not
            -- pass for a message of this one.
            case when e.topic = {_text(topic)} and e.offset is not null then e.partition end
                as partition_no,
            case when e.topic = {_text(topic)} and e.partition is not null then e.offset end
                as offset_no,
            case when e.encoding = 'base64' then try(decode(from_base64(e.payload)))
                else e.payload end as payload,
            e.payload is null as is_tombstone,
            case
                when e is null then 'broken_json'
                when e.topic is null or e.partition is null or e.offset is null
                    then 'broken_envelope'
                when e.topic <> {_text(topic)} then 'wrong_topic'
                when e.encoding = 'base64' and e.payload is not null
                    and try(decode(from_base64(e.payload))) is null then 'invalid_utf8'
            end as envelope_problem
        from envelope
    )"""


# The same CTE where Kafka has taken the message apart; a line is written for dead letters only.
_MESSAGES_SQL = """
    message as (
        select
            "offset" as line_number, null::varchar as line, try(decode(key)) as key_text,
            "partition" as partition_no, "offset" as offset_no,
            try(decode(m.payload)) as payload, m.payload is null as is_tombstone,
            case when m.payload is not null and try(decode(m.payload)) is null
                then 'invalid_utf8' end as envelope_problem
        from messages as m
    )"""


def _contractless_sql(topic: str, disposition: str, reason_code: str | None, envelope: str) -> str:
    reason = "null" if reason_code is None else _text(reason_code)
    return f"""
    with {envelope}
    select
        line_number, {_text(topic)} as topic_name, partition_no, offset_no,
        case when envelope_problem is not null then {_text(DEAD)} else {_text(disposition)}
            end as disposition,
        coalesce(envelope_problem, {reason}) as reason_code,
        coalesce(envelope_problem, {reason}) as reason,
        case when envelope_problem is not null or {reason} is not null then line end as line
    from message"""


def _table_sql(table: Table, envelope: str) -> str:
    columns = {column.name: "VARCHAR" for column in table.landed_columns}
    body: dict[str, object] = {
        "op": "VARCHAR",
        "source": dict.fromkeys(positions.source_fields(table.connector), "VARCHAR"),
        "before": columns,
        "after": columns,
    }
    payload = _struct(body | {"payload": "JSON"})
    texts = ",\n            ".join(_column_text(column, table) for column in table.landed_columns)
    typed = ",\n            ".join(_typed(column) for column in table.landed_columns)
    names = ", ".join(_quoted(f"v_{column.name}") for column in table.landed_columns)
    return f"""
    with {envelope},
    parsed as (
        select *, try(json_transform(payload, {payload})) as p from message
    ), unwrapped as (
        -- JsonConverter with schemas on puts the event below "payload".
        select * replace (
            case when p.op is null and p.payload is not null
                then try(json_transform(p.payload, {payload})) else p end as p
        ), case when p.op is null and p.payload is not null then '$.payload.' else '$.' end as root
        from parsed
    ), flat as (
        select *, p.op as op, p.source as source,
            case when p.op = 'd' then p.before else p.after end as image,
            coalesce(try_cast(p.source.ts_us as bigint),
                try(try_cast(p.source.ts_ms as bigint) * 1000)) as told_ts_us,
            case when told_ts_us >= epoch_us(timestamp '{_FIRST_DAY}')
                and told_ts_us < epoch_us(timestamp '{_AFTER_LAST_DAY}')
                then told_ts_us end as source_ts_us,
            {positions.position(table.connector, "p.source")} as source_position
        from unwrapped
    ), texts as (
        select *,
            {texts}
        from flat
    ), typed as (
        select *,
            {typed}
        from texts
    ), judged as (
        select *,
            case
                when envelope_problem is not null then envelope_problem
                when is_tombstone then null
                when op is null and not coalesce(try(json_valid(payload)), false)
                    then 'broken_json'
                when op is null then 'not_a_change_event'
                when op = 'm' then null
                when op not in ('c', 'u', 'd', 'r', 't') then 'unknown_op'
                when source_ts_us is null or source_position is null then 'missing_source_position'
                when op = 't' then null
                when image is null and op <> 'd' then 'missing_after'
                when {_missing_key(table)} then 'missing_key'
                when {_any_bad(table)} then 'wrong_type'
            end as reason_code
        from typed
    ), enriched as (
        select *, make_timestamptz(source_ts_us) as source_ts,
            {_extra(table)} as extra
        from judged
    )
    select
        line_number, {_text(table.topic)} as topic_name, partition_no, offset_no,
        case when reason_code is not null then {_text(DEAD)}
            when is_tombstone then {_text(TOMBSTONE)}
            when op = 'm' then {_text(MESSAGE)}
            when op = 't' then {_text(TRUNCATE)}
            else {_text(LANDED)} end as disposition,
        reason_code,
        case reason_code
            when 'wrong_type' then {_wrong_type_reason(table)}
            when 'missing_key' then {_text("key without a value: " + ", ".join(table.key))}
            when 'unknown_op' then 'unknown op ' || left(op, 20)
            else reason_code end as reason,
        case when reason_code is not null then line end as line,
        {names},
        op as _op, source_ts as _source_ts, source_ts_us as _source_ts_us,
        {table.epoch}::integer as _epoch, source_position as _source_position,
        case op when 'r' then 0 when 'd' then 1 else 2 end as _source_rank,
        source.snapshot as _snapshot, {_text(table.topic)} as _topic,
        partition_no as _partition, offset_no as _offset,
        {_text(table.version)} as _schema_version,
        []::varchar[] as _unavailable, extra as _extra,
        year(source_ts)::integer as year, month(source_ts)::integer as month
    from enriched"""


def _column_text(column: Column, table: Table) -> str:
    name = _quoted(column.name)
    value = f"image.{name}"
    if column.name in table.key:
        # The message key is parsed only where the image does not tell.
        paths = [_text(f'{root}"{column.name}"') for root in ("$.", "$.payload.")]
        keys = ", ".join(f"try(json_extract_string(key_text, {path}))" for path in paths)
        value = f"coalesce(image.{name}, {keys})"
    return f"case when op <> 't' then {value} end as {_quoted('t_' + column.name)}"


def _typed(column: Column) -> str:
    """SQL of a column's value and of whether its text is no exact value of the contract's type."""
    text = _quoted("t_" + column.name)
    value, exact = _cast(column, text)
    bad = _quoted("bad_" + column.name)
    target = _quoted("v_" + column.name)
    if column.pii == "hash":
        value = f"mask_hash({text})"
    elif column.pii == "mask":
        value = f"left({text}, 1) || '***'"
    if exact is None:
        return f"{value} as {target}, false as {bad}"
    return f"{value} as {target}, {text} is not null and not coalesce({exact}, false) as {bad}"


def _cast(column: Column, text: str) -> tuple[str, str | None]:
    """SQL of the typed value, and of the test that nothing was lost (None: nothing can be)."""
    if column.pii or column.type == "varchar":
        return text, None
    if column.decimal:
        precision, scale = column.decimal
        value = f"try_cast({text} as decimal({precision},{scale}))"
        return value, f"{value} is not null and {_few_decimals(text, scale)}"
    if column.type == "date":
        value = f"try_cast(rtrim({text}, 'Z') as date)"
        return value, f"cast({value} as varchar) = rtrim({text}, 'Z') and {_storable(value)}"
    if column.type == "timestamp":
        # As timestamp without zone, DuckDB would drop an offset instead of applying it.
        value = f"try_cast({text} as timestamptz)"
        return value, _storable(value)
    if column.type in ("double", "boolean"):
        value = f"try_cast({text} as {column.type})"
        return value, f"{value} is not null"
    value = f"try_cast({text} as {column.type})"
    return value, f"cast({value} as varchar) = {text}"


def _storable(value: str) -> str:
    return f"{value} >= '{_FIRST_DAY}' and {value} < '{_AFTER_LAST_DAY}'"


def _few_decimals(text: str, scale: int) -> str:
    """SQL: whether a number's text has no decimals beyond the scale, which a cast would round."""
    point = f"strpos({text}, '.')"
    is_short = f"{point} = 0 or length({text}) - {point} <= {scale}"
    # 1.50E+3 has two digits after the point, of which the exponent takes three; zeros do not count.
    digits = f"rtrim(split_part(lower({text}), 'e', 1), '0')"
    after_point = (
        f"(case when contains({digits}, '.') then length({digits}) - strpos({digits}, '.') "
        f"else length({digits}) - length(split_part(lower({text}), 'e', 1)) end)"
    )
    exponent = f"coalesce(try_cast(nullif(split_part(lower({text}), 'e', 2), '') as integer), 0)"
    return (
        f"case when not contains({text}, 'e') and not contains({text}, 'E') and ({is_short}) "
        f"then true when trim({digits}, '+-0.') = '' then true "
        f"else {after_point} - {exponent} <= {scale} end"
    )


def _missing_key(table: Table) -> str:
    return " or ".join(f"{_quoted('t_' + name)} is null" for name in table.key)


def _any_bad(table: Table) -> str:
    return " or ".join(_quoted("bad_" + column.name) for column in table.landed_columns)


def _wrong_type_reason(table: Table) -> str:
    # Values of tables with personal data stay out of the reason: it is not sealed.
    def part(column: Column) -> str:
        value = "" if table.has_pii else f"|| left({_quoted('t_' + column.name)}, 40) || ' '"
        label = _text(f"{column.name}: ")
        what = _text(f"is no {column.type}")
        return f"case when {_quoted('bad_' + column.name)} then {label} {value} || {what} end"

    return f"concat_ws('; ', {', '.join(part(column) for column in table.landed_columns)})"


def _extra(table: Table) -> str:
    """SQL of the fields that the contract does not know, as JSON; NULL where there are none."""
    names = [column.name for column in table.columns]
    expected = "[" + ", ".join(_text(name) for name in names) + "]"
    forget = _text(json.dumps(dict.fromkeys(names)))
    path = "root || case when op = 'd' then 'before' else 'after' end"
    # DuckDB compiles a constant path once, any other for each row.
    found = f"""case when root <> '$.' then json_keys(payload, {path})
            when op = 'd' then json_keys(payload, '$.before')
            else json_keys(payload, '$.after') end"""
    # Comparing the list of names is cheap; only a deviating row pays for taking fields out.
    return f"""case when reason_code is null and image is not null and {found} <> {expected}
            then nullif(cast(json_merge_patch(json_extract(payload, {path}), {forget})
                as varchar), '{{}}') end"""
