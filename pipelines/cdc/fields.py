"""SQL of the fields that a row's image has: where they differ from the contract, and what is kept.

Nearly all rows have exactly the fields of the contract, in its order. Comparing the list of names
is cheap; only a row that deviates pays for more.
"""

from __future__ import annotations

import json

from pipelines.cdc.columns import any_of, is_unavailable
from pipelines.contract import Table
from pipelines.lake.sql import identifier, literal


def image_fields() -> str:
    """SQL of the names of the fields that an `image` of any shape has; NULL where there is none."""
    added = "starts_with(name, '__')"
    # DuckDB compiles a constant path once, any other for each row.
    return f"""case when image is null then null
            when is_flat then list_filter(json_keys(event_text), lambda name: not {added})
            when is_wrapped then json_keys(payload, {_image_path()})
            when n.op = 'd' then json_keys(payload, '$.before')
            else json_keys(payload, '$.after') end"""


def deviating_fields(table: Table) -> str:
    """SQL of `fields` where they are not those that the contract expects, else NULL."""
    return f"case when fields <> {_list(_expected(table))} then fields end"


def unknown_fields(table: Table) -> str:
    """SQL of those of the `deviating` fields that the contract does not name."""
    named = _list([column.name for column in table.columns])
    return f"list_filter(deviating, lambda name: not list_contains({named}, name))"


def lacking_fields(table: Table) -> str:
    """SQL of the contract's fields that are not among the `deviating` ones."""
    return _not_among_deviating(_expected(table))


def has_drifted() -> str:
    """SQL: whether the image has other fields than the contract."""
    return "coalesce(len(unknown) + len(lacking) > 0, false)"


def drift_reason() -> str:
    """SQL: which fields have drifted, by name only."""
    told = [
        f"case when len({names}) > 0 then {literal(words)} || array_to_string({names}, ', ') end"
        for names, words in (("unknown", "not in the contract: "), ("lacking", "not sent: "))
    ]
    return f"concat_ws('; ', {', '.join(told)})"


def unavailable_names(table: Table) -> str:
    """SQL of the columns whose value the source did not send: left out, or replaced by the marker.

    A key may come in the message key, and is no part of this.
    """
    marked = [
        f"case when {is_unavailable(column, table)} then {literal(column.name)} end"
        for column in table.landed_columns
        if column.toast
    ]
    own = [column for column in table.landed_columns if column.name not in table.key]
    dropped = _list([column.name for column in own if column.dropped])
    missing = f"""case when image is null then []::varchar[]
            when deviating is null then {dropped}
            else {_not_among_deviating([column.name for column in own])} end"""
    if not marked:
        return missing
    told = f"list_filter([{', '.join(marked)}], lambda name: name is not null)"
    return f"list_concat({told}, {missing})"


def extra_fields(table: Table) -> str:
    """SQL of what the contract's columns do not hold, as JSON; NULL where there is none."""
    forget = literal(json.dumps(dict.fromkeys(column.name for column in table.columns)))
    row = f"json_extract(payload, {_image_path()})"
    added = "list_filter(json_keys(event_text), lambda name: starts_with(name, '__'))"
    forget_added = (
        f"'{{' || array_to_string(list_transform({added}, "
        "lambda name: to_json(name) || ':null'), ',') || '}'"
    )
    kept = [column for column in table.landed_columns if column.type in ("date", "timestamp")]
    has_kept = any_of(f"{identifier('x_' + column.name)} is not null" for column in kept)
    pairs = ", ".join(f"{literal(c.name)}, {identifier('x_' + c.name)}" for c in kept)
    found = f"""case when coalesce(len(unknown), 0) = 0 then null
                when is_flat then json_merge_patch(
                    json_merge_patch(event_text, {forget}), {forget_added})
                else json_merge_patch({row}, {forget}) end"""
    if kept:
        both = f"json_merge_patch(coalesce({found}, '{{}}'), json_object({pairs}))"
        found = f"case when {has_kept} then {both} else {found} end"
    return f"""case when reason_code is null and image is not null
            then nullif(cast({found} as varchar), '{{}}') end"""


def _image_path() -> str:
    root = "case when is_wrapped then '$.payload.' else '$.' end"
    return f"{root} || case when n.op = 'd' then 'before' else 'after' end"


def _expected(table: Table) -> list[str]:
    return [column.name for column in table.columns if not column.dropped]


def _not_among_deviating(names: list[str]) -> str:
    among = "list_contains(deviating, name)"
    return (
        f"case when deviating is not null then list_filter({_list(names)}, "
        f"lambda name: not {among}) end"
    )


def _list(names: list[str]) -> str:
    return f"[{', '.join(map(literal, names))}]::varchar[]"
