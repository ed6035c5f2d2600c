"""Decoding in bulk: messages of a topic become typed rows, each with exactly one disposition.

One SQL statement does it, generated from the contract: DuckDB parses the JSON as text, and each
value is typed under a check that refuses whatever a cast would silently round, cut or null.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.cdc import positions
from pipelines.cdc.encodings import (
    FINER_THAN_MICROS,
    INFINITE,
    INFINITE_DAYS,
    decoded,
    encodings_of,
)
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

_SCHEMA_PATTERN = r'"schema\\?": ?\{'
_SCHEMA_OF_PAYLOAD = "cast(try(json_extract(payload, '$.schema')) as varchar)"
FORMER_KEY_HEADER = "__debezium.oldkey"

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
        # Made once: a topic's blocks are alike.
        self._plain_sql = {name: self._sql(name) for name in ("lines", "messages")}

    def decode(self, text: pa.Array, numbers: pa.Array) -> None:
        """Replace `decoded` by the rows of these lines."""
        self._replace_decoded("lines", pa.table({"line_number": numbers, "line": text}), text)

    def decode_messages(self, messages: pa.Table, line_of: Callable[[int, int], str]) -> None:
        """Replace `decoded` by the rows of messages whose envelope is already taken apart.

        Args:
            messages: columns `partition`, `offset`, `key`, `payload` (bytes) and `former_key`, the
                text of the header with it. The offset stands for the line number.
            line_of: the message at a partition and offset as a line; asked for dead letters only.
        """
        self._replace_decoded("messages", messages, messages["payload"])
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

    def _sql(self, given: str, encoded: Collection[str] | None = None) -> str:
        envelope = _MESSAGES_SQL if given == "messages" else _envelope_sql(self._topic)
        if self._table is not None:
            return _table_sql(self._table, envelope, encoded)
        if self._control is not None:
            return _contractless_sql(self._topic, self._control, None, envelope)
        return _contractless_sql(self._topic, DEAD, "unknown_topic", envelope)

    def _replace_decoded(self, given: str, rows: pa.Table, payloads: pa.Array) -> None:
        # In small pieces DuckDB's threads share the work; one large piece takes 2.5 times as long.
        pieces = pa.Table.from_batches(rows.to_batches(_ROWS_A_PIECE), rows.schema)
        self._connection.register(given, pieces)
        try:
            sql = self._plain_sql[given]
            if self._table and pc.any(pc.match_substring_regex(payloads, _SCHEMA_PATTERN)).as_py():
                sql = self._sql(given, self._encoded_columns(given))
            self._connection.execute(f"create or replace temp table decoded as {sql}")
        finally:
            self._connection.unregister(given)

    def _encoded_columns(self, given: str) -> list[str]:
        """Make the table `schemas` of the distinct schemas that messages carry.

        Returns:
            the columns that some schema encodes.
        """
        envelope = _MESSAGES_SQL if given == "messages" else _envelope_sql(self._topic)
        found = self._connection.execute(
            f"""with {envelope}
            select distinct {_SCHEMA_OF_PAYLOAD} from message where payload is not null"""
        ).fetchall()
        schemas = {schema: encodings_of(schema) for (schema,) in found if schema}
        encoded = sorted({name for encodings in schemas.values() for name in encodings})
        columns: dict[str, list[str | None]] = {"schema_text": list(schemas)}
        for name in encoded:
            columns[f"c_{name}"] = [encodings.get(name) for encodings in schemas.values()]
        types = pa.schema([(name, pa.string()) for name in columns])
        self._connection.register("message_schemas", pa.table(columns, schema=types))
        self._connection.execute("create or replace temp table schemas as from message_schemas")
        self._connection.unregister("message_schemas")
        return encoded


def _struct(fields: Mapping[str, object]) -> str:
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
            case when contains(line, {_text(FORMER_KEY_HEADER)})
                then {_header(FORMER_KEY_HEADER)} end as former_key_text,
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


def _header(name: str) -> str:
    """SQL of a header's value: kcat prints headers as one list, names and values in turn."""
    headers = "try(cast(json_extract(line, '$.headers') as varchar[]))"
    return f"list_extract({headers}, list_position({headers}, {_text(name)}) + 1)"


# The same CTE where Kafka has taken the message apart; a line is written for dead letters only.
_MESSAGES_SQL = """
    message as (
        select
            "offset" as line_number, null::varchar as line, try(decode(key)) as key_text,
            former_key as former_key_text,
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


def _table_sql(table: Table, envelope: str, encoded: Collection[str] | None = None) -> str:
    """The statement for one contract.

    Args:
        envelope: the CTE `message`.
        encoded: where messages carry schemas (the table `schemas`), the columns that are no plain
            text in some of them.
    """
    columns: dict[str, object] = dict.fromkeys(
        (column.name for column in table.landed_columns), "VARCHAR"
    )
    fields = positions.source_fields(table.connector)
    event: dict[str, object] = {
        "op": "VARCHAR",
        "source": dict.fromkeys(fields, "VARCHAR"),
        "before": columns,
        "after": columns,
    }
    if not table.key:
        event["transaction"] = {"total_order": "VARCHAR"}
    with_schemas = ""
    if encoded is not None:
        with_schemas = f"left join schemas on schemas.schema_text = {_SCHEMA_OF_PAYLOAD}"
    flat: dict[str, object] = {
        name: "VARCHAR" for field in fields for name in (f"__source_{field}", f"__{field}")
    }
    flat |= {"__op": "VARCHAR", "__deleted": "VARCHAR", **columns}
    texts = ",\n            ".join(_column_text(column, table) for column in table.landed_columns)
    plain = ",\n            ".join(
        _plain_text(column, table, encoded or ()) for column in table.landed_columns
    )
    typed = ",\n            ".join(_typed(column) for column in table.landed_columns)
    names = ", ".join(_quoted(f"v_{column.name}") for column in table.landed_columns)
    return f"""
    with {envelope},
    parsed as (
        select *, try(json_transform(payload, {_struct(event | {"payload": "JSON"})})) as p
        from message
    ), unwrapped as (
        -- JsonConverter with schemas on puts the event below "payload".
        select *, p.op is null and p.payload is not null
                and coalesce(try(json_exists(payload, '$.schema')), false) as is_wrapped,
            case when is_wrapped then cast(p.payload as varchar) else payload end as event_text,
            case when is_wrapped then try(json_transform(p.payload, {_struct(event)}))
                else {_same_struct("p", event)} end as e
        from parsed {with_schemas}
    ), flattened as (
        -- ExtractNewRecordState leaves the row alone, and of the event what it was told to add.
        select *,
            case when e.op is null or e.source is null
                then try(json_transform(event_text, {_struct(flat)})) end as f
        from unwrapped
    ), unflattened as (
        select *,
            coalesce(f.__op, case when f.__deleted = 'true' then 'd' end) as flat_op,
            flat_op is not null as is_flat,
            case when is_flat then {_from_flat(table, fields)} else e end as n
        from flattened
    ), flat as (
        select *, n.op as op, n.source as source,
            case when n.op = 'd' then n.before else n.after end as image,
            coalesce(try_cast(n.source.ts_us as bigint),
                try(try_cast(n.source.ts_ms as bigint) * 1000)) as told_ts_us,
            case when told_ts_us >= epoch_us(timestamp '{_FIRST_DAY}')
                and told_ts_us < epoch_us(timestamp '{_AFTER_LAST_DAY}')
                then told_ts_us end as source_ts_us,
            {positions.position(table.connector, "n.source")} as source_position
        from unflattened
    ), told as (
        select *,
            {texts}
        from flat
    ), texts as (
        select *,
            {plain}
        from told
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
                when {_any(f"{_quoted('t_' + name)} is null" for name in table.key)}
                    then 'missing_key'
                when {
        _any(
            _is_unavailable(column, table)
            for column in table.landed_columns
            if column.toast is None and column.name not in table.key
        )
    }
                    then 'unavailable_value'
                when {_any(_quoted("bad_" + column.name) for column in table.landed_columns)}
                    then 'wrong_type'
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
            when 'unavailable_value' then {_unavailable_reason(table)}
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
        {_unavailable_names(table)} as _unavailable, extra as _extra,
        {_former_key(table, encoded or ())} as _former_key, {
        _transaction_order(table)
    } as _transaction_order,
        year(source_ts)::integer as year, month(source_ts)::integer as month
    from enriched"""


def _same_struct(value: str, fields: Mapping[str, object]) -> str:
    """SQL that brings a struct to exactly these fields."""
    return "struct_pack(" + ", ".join(f'"{name}" := {value}."{name}"' for name in fields) + ")"


def _from_flat(table: Table, source_fields: Iterable[str]) -> str:
    """SQL of an event struct, made of the row `f` that a flattening transform left."""
    source = ", ".join(
        f'"{name}" := coalesce(f.__source_{name}, f.__{name})' for name in source_fields
    )
    image = ", ".join(
        f"{_quoted(column.name)} := f.{_quoted(column.name)}" for column in table.landed_columns
    )
    parts = f"op := flat_op, source := struct_pack({source})"
    parts += f", before := struct_pack({image}), after := struct_pack({image})"
    if not table.key:
        parts += ", transaction := struct_pack(total_order := null::varchar)"
    return f"struct_pack({parts})"


def _column_text(column: Column, table: Table) -> str:
    name = _quoted(column.name)
    value = f"image.{name}"
    if column.name in table.key:
        # The message key is parsed only where the image does not tell.
        paths = [_text(f'{root}"{column.name}"') for root in ("$.", "$.payload.")]
        keys = ", ".join(f"try(json_extract_string(key_text, {path}))" for path in paths)
        value = f"coalesce(image.{name}, {keys})"
    return f"case when op <> 't' then {value} end as {_quoted('s_' + column.name)}"


def _plain_text(column: Column, table: Table, encoded: Collection[str]) -> str:
    """SQL of a value's text as its type reads it (`t_`), and of what the type cannot keep (`x_`).

    An infinite time and a fraction below the microsecond have no place in any engine's timestamp:
    the value becomes empty or is cut, and its source text is kept among the extra fields.
    """
    told = _quoted("s_" + column.name)
    encoding = _encoding(column, encoded)
    plain = decoded(column, told, encoding)
    kept = "null::varchar"
    if column.toast:
        plain = f"case when not {_is_unavailable(column, table)} then {plain} end"
    if column.type in ("date", "timestamp") and not column.pii:
        infinite = f"{told} in ({', '.join(map(_text, INFINITE))})"
        finer = f"length({told}) > 26 and regexp_matches({told}, {_text(FINER_THAN_MICROS)})"
        if encoding:
            days = ", ".join(map(_text, INFINITE_DAYS))
            infinite = (
                f"({infinite} or coalesce({encoding} = 'days' and {told} in ({days}), false))"
            )
            below = f"{encoding} = 'nanos' and try_cast({told} as bigint) % 1000 <> 0"
            finer = f"({finer} or coalesce({below}, false))"
        if column.name in table.key:
            # Cut, two keys could become one.
            plain = (
                f"case when {finer} then {told} || ' (finer than microseconds)' else {plain} end"
            )
        else:
            kept = f"case when {infinite} or {finer} then {told} end"
        plain = f"case when not {infinite} then {plain} end"
    x, t = _quoted("x_" + column.name), _quoted("t_" + column.name)
    return f"{plain} as {t}, {kept} as {x}"


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


def _any(conditions: Iterable[str]) -> str:
    return " or ".join(conditions) or "false"


def _is_unavailable(column: Column, table: Table) -> str:
    """SQL: whether the source sent the marker for "unchanged, and not read from TOAST storage"."""
    marker = table.unavailable_marker
    raw = marker.encode()
    in_base64 = base64.b64encode(raw).decode()
    by_name = uuid.UUID(bytes=hashlib.md5(raw, usedforsecurity=False).digest(), version=3)
    # As text, as bytes in either form, as arrays of text, of bytes, of integers (its bytes) and of
    # UUIDs (named by it), and as the only entry of an hstore.
    forms = (
        marker,
        in_base64,
        raw.hex(),
        *(_compact(value) for value in ([marker], [in_base64], list(raw), [str(by_name)])),
        _compact({marker: marker}),
    )
    return f"coalesce({_quoted('s_' + column.name)} in ({', '.join(map(_text, forms))}), false)"


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _unavailable_names(table: Table) -> str:
    named = [
        f"case when {_is_unavailable(column, table)} then {_text(column.name)} end"
        for column in table.landed_columns
        if column.toast
    ]
    if not named:
        return "[]::varchar[]"
    return f"list_filter([{', '.join(named)}], lambda name: name is not null)"


def _unavailable_reason(table: Table) -> str:
    parts = [
        f"case when {_is_unavailable(column, table)} then {_text(column.name)} end"
        for column in table.landed_columns
        if column.toast is None and column.name not in table.key
    ]
    remedy = _text(": value not sent by the source; mark the column `toast: true` (or false)")
    return f"concat_ws(', ', {', '.join(parts)}) || {remedy}" if parts else "null"


def _former_key(table: Table, encoded: Collection[str]) -> str:
    """SQL of the key that the row had before a change of its key, as texts in the key's order."""
    if not table.key:
        return "null::varchar[]"
    by_name = {column.name: column for column in table.columns}
    parts = []
    for name in table.key:
        paths = [_text(f'{root}"{name}"') for root in ("$.", "$.payload.")]
        told = ", ".join(f"try(json_extract_string(former_key_text, {path}))" for path in paths)
        column = by_name[name]
        plain = decoded(column, f"coalesce({told})", _encoding(column, encoded))
        value, _ = _cast(column, plain)
        parts.append(f"cast({value} as varchar)")
    key = f"[{', '.join(parts)}]"
    whole = "op = 'c' and former_key_text is not null"
    nulls = f"len(list_filter({key}, lambda part: part is null))"
    return f"case when {whole} and {nulls} = 0 then {key} end"


def _encoding(column: Column, encoded: Collection[str]) -> str | None:
    """SQL of a column's encoding; None where it is plain text."""
    told = _text(column.encoding) if column.encoding else None
    if column.name in encoded:
        return f"coalesce({_quoted('c_' + column.name)}, {told or 'null'})"
    return told


def _transaction_order(table: Table) -> str:
    """SQL of the place in the transaction: with the position, all that identifies a keyless row."""
    return "null::bigint" if table.key else "try_cast(n.transaction.total_order as bigint)"


def _wrong_type_reason(table: Table) -> str:
    # Values of tables with personal data stay out of the reason: it is not sealed.
    def part(column: Column) -> str:
        value = "" if table.has_pii else f"|| left({_quoted('t_' + column.name)}, 40) || ' '"
        label = _text(f"{column.name}: ")
        what = _text(f"is no {column.type}")
        return f"case when {_quoted('bad_' + column.name)} then {label} {value} || {what} end"

    return f"concat_ws('; ', {', '.join(part(column) for column in table.landed_columns)})"


def _extra(table: Table) -> str:
    """SQL of what the contract's columns do not hold, as JSON; NULL where there is none."""
    names = [column.name for column in table.columns]
    expected = "[" + ", ".join(_text(name) for name in names) + "]"
    forget = _text(json.dumps(dict.fromkeys(names)))
    root = "case when is_wrapped then '$.payload.' else '$.' end"
    path = f"{root} || case when op = 'd' then 'before' else 'after' end"
    # DuckDB compiles a constant path once, any other for each row.
    found = f"""case when is_wrapped then json_keys(payload, {path})
            when op = 'd' then json_keys(payload, '$.before')
            else json_keys(payload, '$.after') end"""
    row = f"json_extract(payload, {path})"
    added = "list_filter(json_keys(event_text), lambda name: starts_with(name, '__'))"
    forget_added = (
        f"'{{' || array_to_string(list_transform({added}, "
        "lambda name: to_json(name) || ':null'), ',') || '}'"
    )
    kept = [column for column in table.landed_columns if column.type in ("date", "timestamp")]
    has_kept = _any(f"{_quoted('x_' + column.name)} is not null" for column in kept)
    pairs = ", ".join(f"{_text(c.name)}, {_quoted('x_' + c.name)}" for c in kept)
    # Comparing the list of names is cheap; only a deviating row pays for taking fields out.
    unknown = f"""case
                when is_flat then json_merge_patch(
                    json_merge_patch(event_text, {forget}), {forget_added})
                when {found} <> {expected} then json_merge_patch({row}, {forget}) end"""
    if kept:
        both = f"json_merge_patch(coalesce({unknown}, '{{}}'), json_object({pairs}))"
        unknown = f"case when {has_kept} then {both} else {unknown} end"
    return f"""case when reason_code is null and image is not null
            then nullif(cast({unknown} as varchar), '{{}}') end"""
