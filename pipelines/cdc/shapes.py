"""SQL that brings messages to change events: plain envelopes, wrapped with schemas, or flattened.

The CTE that comes out, `event`, is `message` with the struct `n` (op, source), the row's `image` as
a struct, the names of its fields (`fields`, in their order; NULL where there is no image), and with
`is_wrapped`, `is_flat` and `event_text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipelines.cdc import positions
from pipelines.cdc.fields import image_fields
from pipelines.cdc.json_parsing import Parse, struct_of_json
from pipelines.contract import Table
from pipelines.lake.sql import identifier

SCHEMA_OF_PAYLOAD = "cast(try(json_extract(payload, '$.schema')) as varchar)"


def plain_events(table: Table, parse: Parse) -> str:
    """CTEs for messages that are all plain envelopes; others have neither `op` nor `source`.

    An image is cut out as text first: its fields and their names are then read from a third of the
    text, and of the other image nothing is.
    """
    fields = _fields(table) | {"before": "JSON", "after": "JSON"}
    return f"""
    parsed as (
        select *, {parse.struct("payload", fields)} as n
        from message
    ), event as (
        select *, case when n.op = 'd' then n.before else n.after end as image_text,
            {struct_of_json("image_text", _columns(table))} as image,
            json_keys(image_text) as fields,
            false as is_wrapped, false as is_flat, payload as event_text
        from parsed
    )"""


def events_of_any_shape(table: Table, parse: Parse, *, with_schemas: bool) -> str:
    """CTEs that look at each message.

    Args:
        with_schemas: whether to join the table `schemas` to the schemas that messages carry.
    """
    fields, source = _fields(table), positions.source_fields(table.connector)
    flat: dict[str, object] = {
        name: "VARCHAR" for field in source for name in (f"__source_{field}", f"__{field}")
    }
    flat |= {"__op": "VARCHAR", "__deleted": "VARCHAR", **_columns(table)}
    joined = (
        f"left join schemas on schemas.schema_text = {SCHEMA_OF_PAYLOAD}" if with_schemas else ""
    )
    return f"""
    parsed as (
        select *, {parse.struct("payload", fields | {"payload": "JSON"})} as p
        from message
    ), unwrapped as (
        -- JsonConverter with schemas on puts the event below "payload".
        select *, p.op is null and p.payload is not null
                and coalesce(try(json_exists(payload, '$.schema')), false) as is_wrapped,
            case when is_wrapped then cast(p.payload as varchar) else payload end as event_text,
            case when is_wrapped then {parse.struct("p.payload", fields)}
                else {_same_struct("p", fields)} end as e
        from parsed {joined}
    ), flattened as (
        -- ExtractNewRecordState leaves the row alone, and of the event what it was told to add.
        select *,
            case when e.op is null or e.source is null
                then {parse.struct("event_text", flat)} end as f
        from unwrapped
    ), unflattened as (
        select *,
            coalesce(f.__op, case when f.__deleted = 'true' then 'd' end) as flat_op,
            flat_op is not null as is_flat,
            case when is_flat then {_from_flat(table, source)} else e end as n
        from flattened
    ), event as (
        select *,
            case when n.op = 'd' then n.before else n.after end as image,
            {image_fields()} as fields
        from unflattened
    )"""


def _columns(table: Table) -> dict[str, object]:
    return dict.fromkeys((column.name for column in table.landed_columns), "VARCHAR")


def _fields(table: Table) -> dict[str, object]:
    """The fields of an envelope that the landing reads."""
    fields: dict[str, object] = {
        "op": "VARCHAR",
        "source": dict.fromkeys(positions.source_fields(table.connector), "VARCHAR"),
        "before": _columns(table),
        "after": _columns(table),
    }
    if not table.key:
        fields["transaction"] = {"total_order": "VARCHAR"}
    return fields


def _same_struct(value: str, fields: Mapping[str, object]) -> str:
    """SQL that brings a struct to exactly these fields."""
    return "struct_pack(" + ", ".join(f'"{name}" := {value}."{name}"' for name in fields) + ")"


def _from_flat(table: Table, source_fields: Iterable[str]) -> str:
    """SQL of an event struct, made of the row `f` that a flattening transform left."""
    source = ", ".join(
        f'"{name}" := coalesce(f.__source_{name}, f.__{name})' for name in source_fields
    )
    image = ", ".join(
        f"{identifier(column.name)} := f.{identifier(column.name)}"
        for column in table.landed_columns
    )
    parts = f"op := flat_op, source := struct_pack({source})"
    parts += f", before := struct_pack({image}), after := struct_pack({image})"
    if not table.key:
        parts += ", transaction := struct_pack(total_order := null::varchar)"
    return f"struct_pack({parts})"
