"""The contract of a source, as YAML in the form that the project's contracts have."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from pipelines.source.drafted import DraftedColumn, DraftedSource, DraftedTable

_CONFIRM = "# to confirm: personal, by its name or type alone"
_CONFIRM_KEY = "# to confirm: looks personal, and a key lands in the clear"
_HEAD = """\
# The contract of the source `{server}`, drafted from its database. Before anything lands:
# - decide on each column marked `to confirm`, and look for personal data that has no such name;
# - describe what is still "To describe";
# - keep `toast: true` (updates may leave such values out) unless values stay below 2 kB for good.
version: 2

sources:
  - name: {server}
    description: {description}
    schema: raw
    loader: lakehouse land
    loaded_at_field: _landed_at
    config:
      freshness:
        warn_after: {{count: 1, period: day}}
      meta:
        server: {server}
        namespace: {namespace}
        connector: {connector}
        owner: data-platform  # to confirm
        external_location: "delta_scan('{{{{ env_var('LAKEHOUSE_STORE', '') \
or env_var('LAKEHOUSE_HOME', '../lake') }}}}/raw/\
{server}.{namespace}.{{name}}')"
    tables:
"""


def contract(source: DraftedSource) -> str:
    """The text of a source file of dbt."""
    head = _HEAD.format(
        server=source.server,
        namespace=scalar(source.namespace),
        connector=source.connector,
        description=scalar(
            f"Schema {source.namespace} of the database {source.database}, as change events."
        ),
    )
    return head + "\n".join("".join(_table(table)) for table in source.tables)


def scalar(text: str) -> str:
    """A text as YAML reads it back, on one line, and as dbt's templates leave it alone."""
    for begin in ("{{", "{%", "{#"):
        text = text.replace(begin, f"{begin[0]} {begin[1]}")
    # Only double quotes keep a line break on the line.
    style = '"' if "\n" in text else None
    told = yaml.safe_dump(
        [text], default_flow_style=True, default_style=style, allow_unicode=True, width=10**9
    )
    return told.strip()[1:-1]


def _table(table: DraftedTable) -> Iterator[str]:
    yield f"      - name: {scalar(table.name)}\n"
    yield f"        description: {scalar(table.description)}\n"
    key = ", ".join(scalar(name) for name in table.table.key)
    yield f"        config: {{meta: {{key: [{key}]}}}}\n"
    for note in table.table.notes:
        yield f"        # {note}\n"
    if table.table.key_index:
        yield "        # The table has no primary key; a unique index stands in for it.\n"
    for name, why in table.left_out.items():
        # As YAML writes it, a name has no line break that would end the comment.
        yield f"        # Left out: {scalar(name)}: {why}.\n"
    yield "        columns:\n"
    for column in table.columns:
        yield from _column(column)


def _column(column: DraftedColumn) -> Iterator[str]:
    name, description = scalar(column.name), scalar(column.description)
    meta = [f"pii: {column.pii}"] if column.pii else []
    meta += ["toast: true"] if column.is_toast else []
    meta += [f"encoding: {column.column.encoding}"] if column.column.encoding else []
    mark = f"  {_CONFIRM}" if column.pii else ""
    mark = f"  {_CONFIRM_KEY}" if column.is_personal_key else mark
    # A comma would end the value within braces.
    data_type = f'"{column.type}"' if "," in column.type else column.type
    if not meta:
        told = f"name: {name}, data_type: {data_type}, description: {description}"
        yield f"          - {{{told}}}{mark}\n"
        return
    yield f"          - name: {name}\n"
    yield f"            data_type: {column.type}\n"
    yield f"            description: {description}\n"
    yield f"            config: {{meta: {{{', '.join(meta)}}}}}{mark}\n"
