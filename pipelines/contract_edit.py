"""Writing into the contracts' YAML: comments, order and quotes of the file stay as they are."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipelines.contract import Table, load_contracts
from pipelines.errors import LakehouseError


@contextmanager
def edited(project_dir: Path, table: Table) -> Iterator[Any]:
    """The table's entry as it stands in its file, to be changed in place.

    On leaving, the file is written if the entry has changed, and all contracts are read again.

    Raises:
        LakehouseError: the file no longer holds the table, or with the change the contracts would
            not hold; the file is then left as it was.
    """
    path = project_dir.parent / table.file
    before = path.read_text(encoding="utf-8")
    yaml = _round_trip()
    document = yaml.load(before)
    entry = _entry(document, table)
    yield entry
    written = io.StringIO()
    yaml.dump(document, written)
    after = written.getvalue()
    if after == _as_dumped(before):
        return
    _replace(path, after)
    try:
        load_contracts(project_dir)
    except LakehouseError:
        _replace(path, before)
        raise


def meta_of(entry: Any) -> Any:
    """`config.meta` of an entry of a table or column, made where it is missing."""
    return entry.setdefault("config", {}).setdefault("meta", {})


def _round_trip() -> YAML:
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 10**6  # no line is broken that was not
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _as_dumped(text: str) -> str:
    yaml, written = _round_trip(), io.StringIO()
    yaml.dump(yaml.load(text), written)
    return written.getvalue()


def _entry(document: Any, table: Table) -> Any:
    for source in document.get("sources") or []:
        told = (source.get("config") or {}).get("meta") or {}
        for entry in source.get("tables") or []:
            own = told | ((entry.get("config") or {}).get("meta") or {})
            place = (own.get("server"), own.get("namespace"), entry.get("name"))
            if place == (table.server, table.namespace, table.name):
                return entry
    raise LakehouseError(
        f"{table.file} no longer holds the table {table.name}", "try again; the file has changed"
    )


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
