"""Decoding in bulk: messages of a topic become typed rows, each with exactly one disposition.

One SQL statement does it, generated from the contract: DuckDB parses the JSON as text, then the
values are typed (`columns`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.cdc import positions
from pipelines.cdc.columns import (
    AFTER_LAST_DAY,
    FIRST_DAY,
    any_of,
    any_unavailable,
    column_text,
    former_key,
    plain_text,
    transaction_order,
    typed_value,
    unavailable_reason,
    wrong_type_reason,
)
from pipelines.cdc.encodings import encodings_of
from pipelines.cdc.fields import (
    deviating_fields,
    drift_reason,
    extra_fields,
    has_drifted,
    lacking_fields,
    unavailable_names,
    unknown_fields,
)
from pipelines.cdc.json_parsing import Checking, Parse, Trusting
from pipelines.cdc.masking import Masker
from pipelines.cdc.routing import named_tables, routes
from pipelines.cdc.shapes import SCHEMA_OF_PAYLOAD, events_of_any_shape, plain_events
from pipelines.contract import Table
from pipelines.lake.sql import identifier, literal

# What can become of a delivered message; each has exactly one.
LANDED, TRUNCATE, DEAD, TOMBSTONE = "landed", "truncate", "dead", "tombstone"
HEARTBEAT, MESSAGE, TXMETA, SCHEMA_CHANGE = "heartbeat", "message", "txmeta", "schema_change"
# In a shared topic: handed to its table, which tells more under the table's own name.
ROUTED = "routed"
DISPOSITIONS = (
    LANDED, TRUNCATE, DEAD, TOMBSTONE, HEARTBEAT, MESSAGE, TXMETA, SCHEMA_CHANGE, ROUTED,
)  # fmt: skip

# The reason code of a row whose fields are not those of a contract that allows no others.
DRIFT = "drift"
# Not final: of a message that is no plain event, where nothing else was looked for, and of JSON
# that was not read.
_OTHER_SHAPE, _MISSED = "other_shape", "missed"

_ROWS_A_PIECE = 8192

_SCHEMA_PATTERN = r'"schema\\?": ?\{'
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
    For a shared topic it has no values, but a column `route`: the `topic` of a message's table.

    Args:
        table: the contract, or None where the topic has none.
        control: the disposition of all its messages if it is a control topic.
        sharing: the tables whose messages come in this topic if it is a shared one.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        masker: Masker,
        topic: str,
        table: Table | None,
        control: str | None = None,
        sharing: Sequence[Table] = (),
    ) -> None:
        self._connection = connection
        masker.install(connection)
        self._topic = table.stream_topic if table else topic
        self._table = table
        self._control = control
        self._sharing = sharing
        self._parse: Parse = Trusting()
        self._expects_plain = self._table is not None
        self._usual_sql = self._statements()

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
            f"select partition_no, offset_no from decoded where disposition = {literal(DEAD)}"
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

    def _statements(self) -> dict[str, str]:
        """Made once: a topic's blocks are alike."""
        return {given: self._sql(given) for given in ("lines", "messages")}

    def _envelope(self, given: str) -> str:
        return _MESSAGES_SQL if given == "messages" else _envelope_sql(self._topic, self._parse)

    def _sql(self, given: str, encoded: Collection[str] | None = None) -> str:
        envelope = self._envelope(given)
        if self._table is not None:
            expected = None if self._expects_plain else encoded or ()
            return _table_sql(self._table, envelope, self._parse, expected)
        if self._sharing:
            return _shared_sql(self._topic, self._sharing, envelope, self._parse)
        if self._control is not None:
            return _contractless_sql(self._topic, self._control, None, envelope)
        return _contractless_sql(self._topic, DEAD, "unknown_topic", envelope)

    def _replace_decoded(self, given: str, rows: pa.Table, payloads: pa.Array) -> None:
        # In small pieces DuckDB's threads share the work; one large piece takes 2.5 times as long.
        pieces = pa.Table.from_batches(rows.to_batches(_ROWS_A_PIECE), rows.schema)
        self._connection.register(given, pieces)
        try:
            while not self._is_executed(given, payloads):
                # A topic that brought such messages may bring more of them.
                self._usual_sql = self._statements()
        finally:
            self._connection.unregister(given)

    def _is_executed(self, given: str, payloads: pa.Array) -> bool:
        """Make `decoded`; False where the messages want a statement that expects less of them."""
        try:
            sql = self._usual_sql[given]
            if not self._expects_plain and _any_has_schema(payloads):
                sql = self._sql(given, self._encoded_columns(given))
            self._connection.execute(f"create or replace temp table decoded as {sql}")
        except duckdb.InvalidInputException:
            if isinstance(self._parse, Checking):
                raise
            self._parse = Checking()
            return False
        unread = self._connection.execute(
            f"""select distinct reason_code from decoded
            where reason_code in ('{_MISSED}', '{_OTHER_SHAPE}')"""
        ).fetchall()
        if (_MISSED,) in unread:
            self._parse = Checking()
        if (_OTHER_SHAPE,) in unread:
            self._expects_plain = False
        return not unread

    def _encoded_columns(self, given: str) -> list[str]:
        """Make the table `schemas` of the distinct schemas that messages carry.

        Returns:
            the columns that some schema encodes.
        """
        found = self._connection.execute(
            f"""with {self._envelope(given)}
            select distinct {SCHEMA_OF_PAYLOAD} from message where payload is not null"""
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


def _any_has_schema(payloads: pa.Array) -> bool:
    return bool(pc.any(pc.match_substring_regex(payloads, _SCHEMA_PATTERN)).as_py())


def _envelope_sql(topic: str, parse: Parse) -> str:
    """CTE `message`: the line taken apart, with the first problem found in it."""
    return f"""
    envelope as (
        select line_number, line, {parse.struct("line", _ENVELOPE)} as e
        from lines
    ), message as (
        select
            line_number, line, e.key as key_text,
            case when contains(line, {literal(FORMER_KEY_HEADER)})
                then {_header(FORMER_KEY_HEADER)} end as former_key_text,
            -- Only coordinates within this topic are coordinates: those of another one must not
            -- pass for a message of this one.
            case when e.topic = {literal(topic)} and e.offset is not null then e.partition end
                as partition_no,
            case when e.topic = {literal(topic)} and e.partition is not null then e.offset end
                as offset_no,
            case when e.encoding = 'base64' then try(decode(from_base64(e.payload)))
                else e.payload end as payload,
            e.payload is null as is_tombstone,
            case
                -- Nested: both sides of an AND are computed for every row.
                when e is null
                    then case when {parse.is_missed("line")} then '{_MISSED}'
                        else 'broken_json' end
                when e.topic is null or e.partition is null or e.offset is null
                    then 'broken_envelope'
                when e.topic <> {literal(topic)} then 'wrong_topic'
                when e.encoding = 'base64' and e.payload is not null
                    and try(decode(from_base64(e.payload))) is null then 'invalid_utf8'
            end as envelope_problem
        from envelope
    )"""


def _header(name: str) -> str:
    """SQL of a header's value: kcat prints headers as one list, names and values in turn."""
    headers = "try(cast(json_extract(line, '$.headers') as varchar[]))"
    return f"list_extract({headers}, list_position({headers}, {literal(name)}) + 1)"


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
    reason = "null" if reason_code is None else literal(reason_code)
    return f"""
    with {envelope}
    select
        line_number, {literal(topic)} as topic_name, partition_no, offset_no,
        case when envelope_problem is not null then {literal(DEAD)} else {literal(disposition)}
            end as disposition,
        coalesce(envelope_problem, {reason}) as reason_code,
        coalesce(envelope_problem, {reason}) as reason,
        case when envelope_problem is not null or {reason} is not null then line end as line
    from message"""


def _shared_sql(topic: str, tables: Sequence[Table], envelope: str, parse: Parse) -> str:
    """The statement for a shared topic: which table each message is of."""
    return f"""
    with {envelope}, {named_tables(parse)}, {routes(tables)},
    judged as (
        select *, case
                when envelope_problem is not null then envelope_problem
                when is_tombstone or op = 'm' or route is not null then null
                when not coalesce(json_valid(payload), false) then 'broken_json'
                when {parse.is_missed("payload")} then '{_MISSED}'
                else 'unknown_table'
            end as reason_code
        from routed
    )
    select
        line_number, {literal(topic)} as topic_name, partition_no, offset_no,
        case when reason_code is not null then {literal(DEAD)}
            when is_tombstone then {literal(TOMBSTONE)}
            when op = 'm' then {literal(MESSAGE)}
            else {literal(ROUTED)} end as disposition,
        reason_code,
        case reason_code
            when 'unknown_table' then case
                when origin."table" is null then 'the message does not tell its table'
                else 'no contract of this topic is for ' || left(concat_ws('.', server,
                    coalesce(origin.schema, origin.db, '(no schema)'), origin."table"), 200)
                end
            else reason_code end as reason,
        case when reason_code is not null then line end as line,
        case when reason_code is null and not is_tombstone and op is distinct from 'm'
            then route end as route
    from judged"""


def _table_sql(
    table: Table, envelope: str, parse: Parse, encoded: Collection[str] | None = None
) -> str:
    """The statement for one contract.

    Args:
        envelope: the CTE `message`.
        encoded: the columns that are no plain text in some messages, by the schemas that these
            carry (the table `schemas`; empty where none does). None: all messages are taken for
            plain events; others get the reason code `_OTHER_SHAPE`.
    """
    events = (
        plain_events(table, parse)
        if encoded is None
        else events_of_any_shape(table, parse, with_schemas=bool(encoded))
    )
    other_shape = "op is null" if encoded is not None else "op is null or source is null"
    not_plain = "not_a_change_event" if encoded is not None else _OTHER_SHAPE
    texts = ",\n            ".join(column_text(column, table) for column in table.landed_columns)
    plain = ",\n            ".join(
        plain_text(column, table, encoded or ()) for column in table.landed_columns
    )
    typed = ",\n            ".join(typed_value(column) for column in table.landed_columns)
    names = ", ".join(identifier(f"v_{column.name}") for column in table.landed_columns)
    return f"""
    with {envelope},
    {events},
    flat as (
        select *, n.op as op, n.source as source,
            coalesce(try_cast(n.source.ts_us as bigint),
                try(try_cast(n.source.ts_ms as bigint) * 1000)) as told_ts_us,
            case when told_ts_us >= epoch_us(timestamp '{FIRST_DAY}')
                and told_ts_us < epoch_us(timestamp '{AFTER_LAST_DAY}')
                then told_ts_us end as source_ts_us,
            {positions.position(table.connector, "n.source")} as source_position
        from event
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
    ), compared as (
        select *, {deviating_fields(table)} as deviating
        from typed
    ), drifted as (
        select *,
            {unknown_fields(table)} as unknown,
            {lacking_fields(table)} as lacking
        from compared
    ), judged as (
        select *,
            case
                when envelope_problem is not null then envelope_problem
                when is_tombstone then null
                when {other_shape} then case
                    when op is null and not coalesce(json_valid(payload), false) then 'broken_json'
                    when op is null and {parse.is_missed("payload")} then '{_MISSED}'
                    else '{not_plain}' end
                when op = 'm' then null
                when op not in ('c', 'u', 'd', 'r', 't') then 'unknown_op'
                when source_ts_us is null or source_position is null then 'missing_source_position'
                when op = 't' then null
                when image is null and op <> 'd' then 'missing_after'
                when {any_of(f"{identifier('t_' + name)} is null" for name in table.key)}
                    then 'missing_key'
                {f"when {has_drifted()} then '{DRIFT}'" if table.on_drift != "evolve" else ""}
                when {any_unavailable(table, encoded or (), is_refused=False)}
                    then 'unavailable_value'
                when {any_of(identifier("bad_" + column.name) for column in table.landed_columns)}
                    then case when {any_unavailable(table, encoded or (), is_refused=True)}
                        then 'unavailable_value' else 'wrong_type' end
            end as reason_code
        from drifted
    ), enriched as (
        select *, make_timestamptz(source_ts_us) as source_ts,
            {extra_fields(table)} as extra
        from judged
    )
    select
        line_number, {literal(table.topic)} as topic_name, partition_no, offset_no,
        case when reason_code is not null then {literal(DEAD)}
            when is_tombstone then {literal(TOMBSTONE)}
            when op = 'm' then {literal(MESSAGE)}
            when op = 't' then {literal(TRUNCATE)}
            else {literal(LANDED)} end as disposition,
        reason_code,
        case reason_code
            when 'wrong_type' then {wrong_type_reason(table)}
            when 'missing_key' then {literal("key without a value: " + ", ".join(table.key))}
            when 'unavailable_value' then {unavailable_reason(table)}
            when '{DRIFT}' then {drift_reason()}
            when 'unknown_op' then 'unknown op ' || left(op, 20)
            else reason_code end as reason,
        case when reason_code is not null then line end as line,
        {names},
        op as _op, source_ts as _source_ts, source_ts_us as _source_ts_us,
        {table.epoch}::integer as _epoch, source_position as _source_position,
        case op when 'r' then 0 when 'd' then 1 else 2 end as _source_rank,
        source.snapshot as _snapshot, {literal(table.stream_topic)} as _topic,
        partition_no as _partition, offset_no as _offset,
        {literal(table.version)} as _schema_version,
        {unavailable_names(table)} as _unavailable, extra as _extra,
        {former_key(table, encoded or ())} as _former_key, {
        transaction_order(table)
    } as _transaction_order,
        year(source_ts)::integer as year, month(source_ts)::integer as month
    from enriched"""
