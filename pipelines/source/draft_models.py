"""The models of a source: one macro call each for base and history, names for staging."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import duckdb

from pipelines.source.draft_contract import scalar
from pipelines.source.drafted import DraftedColumn, DraftedSource, DraftedTable
from pipelines.source.personal import words

_TIME, _RUN = (
    "When the source last changed the row, UTC.",
    "The run that last changed the row here.",
)


def models(source: DraftedSource) -> dict[str, str]:
    """File name → content: the models of all tables, and the YAML that describes them.

    A table without a key has a history only: there is no current state of it.
    """
    files = {}
    for table in source.tables:
        relation = f"source('{source.server}', '{table.name}')"
        files[f"hist_{table.model}.sql"] = f"{{{{ change_log({relation}) }}}}\n"
        if table.table.key:
            history = f", history=ref('hist_{table.model}')" if table.has_toast else ""
            files[f"base_{table.model}.sql"] = f"{{{{ fold_current({relation}{history}) }}}}\n"
            files[f"stg_{table.model}.sql"] = _staging(table)
    files[f"_{source.server}__models.yml"] = "version: 2\n\nmodels:\n" + "\n".join(
        "".join(_described(table)) for table in source.tables
    )
    return files


def names(source: DraftedSource) -> set[str]:
    """Names of all models drafted."""
    return {name.removesuffix(".sql") for name in models(source) if name.endswith(".sql")}


def conformed(table: DraftedTable) -> dict[str, str]:
    """Column of the source → its name in staging: small letters, and told where it is a hash."""
    found: dict[str, str] = {}
    for column in table.landed:
        name = words(column.name)
        if column.pii == "hash" and not name.endswith("_hash"):
            name += "_hash"
        number, plain = 2, name
        while name in found.values():
            name, number = f"{plain}_{number}", number + 1
        found[column.name] = name
    return found


def _staging(table: DraftedTable) -> str:
    lines = []
    for column, name in conformed(table).items():
        # DuckDB takes names in any case; linted SQL has them in small letters.
        plain, quoted = _quoted(column.lower()), _quoted(name)
        lines.append(plain if plain == quoted else f"{plain} as {quoted}")
    columns = "".join(f"        {line},\n" for line in lines)
    return f"""\
with base as (
    select * from {{{{ ref('base_{table.model}') }}}}
),

final as (
    select
{columns}        _source_ts,
        _increment_id
    from base
    where not _is_deleted
)

select * from final
"""


def _quoted(name: str) -> str:
    return f'"{name}"' if name in _words_of_sql() else name


@cache
def _words_of_sql() -> frozenset[str]:
    found = duckdb.sql(
        "select keyword_name from duckdb_keywords() where keyword_category <> 'unreserved'"
    ).fetchall()
    return frozenset(name for (name,) in found)


def _described(table: DraftedTable) -> Iterator[str]:
    kept = f"One row a distinct change of the table {table.name}."
    yield f"  - name: hist_{table.model}\n    description: {scalar(kept)}\n"
    if not table.table.key:
        return
    state = f"One row a key of {table.name} ever seen, dead or alive, as its last change left it."
    yield f"  - name: base_{table.model}\n    description: {scalar(state)}\n"
    living = f"One row a row of {table.name} that exists."
    yield f"  - name: stg_{table.model}\n    description: {scalar(living)}\n    columns:\n"
    called = conformed(table)
    for column in table.landed:
        yield from _column(column, called[column.name], table.table.key)
    yield f'      - {{name: _source_ts, description: "{_TIME}"}}\n'
    yield f"      - {{name: _increment_id, description: {_RUN}}}\n"
    if len(table.table.key) > 1:
        key = ", ".join(scalar(called[name]) for name in table.table.key)
        yield "    data_tests:\n      - unique_combination:\n"
        yield f"          arguments: {{columns: [{key}]}}\n"


def _column(column: DraftedColumn, name: str, key: tuple[str, ...]) -> Iterator[str]:
    description = scalar(column.description)
    if column.name not in key:
        yield f"      - {{name: {scalar(name)}, description: {description}}}\n"
        return
    tests = "[not_null, unique]" if len(key) == 1 else "[not_null]"
    yield f"      - name: {scalar(name)}\n        description: {description}\n"
    yield f"        data_tests: {tests}\n"
