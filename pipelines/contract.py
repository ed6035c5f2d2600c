"""Contracts of the source tables, read from the dbt source YAML: the only place that holds them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipelines.errors import LakehouseError

Connector = Literal["postgres", "sqlserver", "mariadb"]
PiiRule = Literal["hash", "mask", "drop"]
# How a converter without schemas writes a value that is no plain text of its type.
Encoding = Literal["days", "millis", "micros", "nanos", "base64"]
# What becomes of a row whose fields are not those of the contract.
OnDrift = Literal["evolve", "freeze", "stop"]

_SIMPLE_TYPES = {
    "bigint",
    "integer",
    "smallint",
    "double",
    "boolean",
    "varchar",
    "date",
    "timestamp",
}
_ID_TYPES = ("bigint", "integer", "smallint")
_ALIASES = {"int": "integer", "text": "varchar", "string": "varchar", "bool": "boolean"}
# The landing cuts every raw table by these.
TAKEN_NAMES = frozenset({"year", "month"})
COLUMN_NAME = r"^[A-Za-z][A-Za-z0-9_]*$"
_DECIMAL = re.compile(r"decimal\((\d{1,2}),\s*(\d{1,2})\)")
TYPES_HINT = (
    "use one of bigint, integer, smallint, double, boolean, varchar, date, timestamp, decimal(p,s)"
)


def _known_type(text: str) -> str:
    name = text.strip().lower()
    name = _ALIASES.get(name, name)
    match = _DECIMAL.fullmatch(name)
    if match:
        precision, scale = int(match[1]), int(match[2])
        if 1 <= precision <= 38 and scale <= precision:
            return f"decimal({precision},{scale})"
    elif name in _SIMPLE_TYPES:
        return name
    raise ValueError(f"unknown type {text!r}; {TYPES_HINT}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Strict):
    """One column of a source table.

    Attributes:
        toast: whether PostgreSQL may leave the value out of an update and the connector put a
            marker in its place. False: a text equal to the marker is just text. None: not told;
            the marker then makes a dead letter.
        encoding: days, millis, micros or nanos since 1970 for dates and timestamps; base64 for
            decimals (the unscaled number, big-endian).
        dropped: the source no longer sends it; rows without it keep the last value of their key.
        subject: the kind of person whose id this is, for example client; see `lakehouse erase`.
    """

    name: str = Field(pattern=COLUMN_NAME)
    type: Annotated[str, AfterValidator(_known_type)]
    pii: PiiRule | None = None
    subject: str | None = Field(default=None, pattern=r"^[a-z][a-z_]*$")
    unit: str | None = None
    toast: bool | None = None
    encoding: Encoding | None = None
    dropped: bool = False

    @model_validator(mode="after")
    def _rules_suit_type(self) -> Column:
        suits = {"days": ("date",), "base64": ("decimal",)}.get(
            str(self.encoding), ("date", "timestamp")
        )
        if self.encoding and not self.type.startswith(suits):
            raise ValueError(f"encoding {self.encoding} does not suit {self.type}")
        if self.subject and (self.pii or self.type not in (*_ID_TYPES, "varchar")):
            raise ValueError("a subject's id must be an integer or varchar without a pii rule")
        return self

    @property
    def decimal(self) -> tuple[int, int] | None:
        """(precision, scale) of a decimal column, else None."""
        match = _DECIMAL.fullmatch(self.type)
        return (int(match[1]), int(match[2])) if match else None


class Table(_Strict):
    """What a source table promises: its columns, its key, and where its events come from.

    Attributes:
        key: empty for a table without a key, which has a history but no current state.
        epoch: counts how often the source's positions began anew (failover, re-snapshot).
        on_drift: what becomes of a row with fields that the contract does not name, or without
            some that it does. evolve: it lands, unknown fields are kept. freeze: it is a dead
            letter. stop: the landing ends.
        retention_days: how long a superseded change is kept; None: for ever.
        shared_topic: the topic that brings its messages where that carries messages of other
            tables, too; each then tells its table. None, or `topic`: the topic is its own.
        fresh_within: how old the last landing may be before it is late (dbt's `warn_after`).
    """

    name: str
    server: str
    namespace: str
    connector: Connector
    key: tuple[str, ...]
    columns: tuple[Column, ...] = Field(min_length=1)
    epoch: int = Field(default=0, ge=0)
    unavailable_marker: str = Field(default="__debezium_unavailable_value", min_length=1)
    on_drift: OnDrift = "evolve"
    retention_days: int | None = Field(default=None, ge=1)
    shared_topic: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,249}$")
    owner: str | None = None
    fresh_within: timedelta | None = None
    file: str

    @model_validator(mode="after")
    def _key_and_columns_agree(self) -> Table:
        names = [column.name for column in self.columns]
        folded = [name.lower() for name in names]
        twice = sorted({name for name in folded if folded.count(name) > 1})
        if twice:
            raise ValueError(f"columns named twice: {', '.join(twice)}")
        taken = sorted(TAKEN_NAMES & set(folded))
        if taken:
            raise ValueError(f"column {taken[0]!r} is taken by the partitions of the raw table")
        for part in self.key:
            column = next((c for c in self.columns if c.name == part), None)
            if column is None:
                raise ValueError(f"key column {part!r} is not among the columns")
            if column.pii or column.toast or column.dropped:
                raise ValueError(f"key column {part!r} cannot be marked pii, toast or dropped")
        return self

    @property
    def topic(self) -> str:
        """Identity and raw folder: `server.namespace.table`, as Kafka calls its own topic."""
        return f"{self.server}.{self.namespace}.{self.name}"

    @property
    def stream_topic(self) -> str:
        """The topic that brings its messages."""
        return self.shared_topic or self.topic

    @property
    def sql_name(self) -> str:
        """Name of the raw table in SQL, on every engine: `server_namespace_table`."""
        return f"{self.server}_{self.namespace}_{self.name}"

    @property
    def landed_columns(self) -> tuple[Column, ...]:
        """Columns that enter the lake: all but those whose PII rule is `drop`."""
        return tuple(column for column in self.columns if column.pii != "drop")

    @property
    def has_pii(self) -> bool:
        return any(column.pii for column in self.columns)

    @property
    def version(self) -> str:
        """Twelve hex digits that change whenever what is landed changes."""
        shape: list[object] = [[c.name, c.type, c.pii, c.toast, c.encoding] for c in self.columns]
        shape += [list(self.key), self.epoch, self.unavailable_marker]
        # Only where told, so that contracts without them keep the versions they had.
        shape += [f"dropped {c.name}" for c in self.columns if c.dropped]
        shape += [f"on_drift {self.on_drift}"] if self.on_drift != "evolve" else []
        return hashlib.sha256(json.dumps(shape).encode()).hexdigest()[:12]


class Contracts:
    """All contracts of a project, by topic."""

    def __init__(self, tables: Iterable[Table]) -> None:
        self.by_topic: dict[str, Table] = {}
        for table in tables:
            if table.topic in self.by_topic:
                raise LakehouseError(
                    f"topic {table.topic} has two contracts: "
                    f"{self.by_topic[table.topic].file} and {table.file}",
                    "remove one of the two entries",
                )
            self.by_topic[table.topic] = table
        self._sharing: dict[str, list[Table]] = {}
        for table in self.tables:
            if table.stream_topic != table.topic:
                self._sharing.setdefault(table.stream_topic, []).append(table)
        for topic in self._sharing.keys() & self.by_topic.keys():
            raise LakehouseError(
                f"{self._sharing[topic][0].file}, table {self._sharing[topic][0].name}: topic "
                f"{topic} is that of the table in {self.by_topic[topic].file}",
                "let the connector route to a topic that is called like no table; parts of one "
                "table in its topic need no `topic`",
            )

    def sharing(self, topic: str) -> list[Table]:
        """The tables whose messages come in this shared topic; none where it is not shared."""
        return self._sharing.get(topic, [])

    @property
    def tables(self) -> list[Table]:
        return list(self.by_topic.values())

    @property
    def servers(self) -> set[str]:
        return {table.server for table in self.tables}


def load_contracts(project_dir: Path, *, may_be_none: bool = False) -> Contracts:
    """Read every source of a dbt project whose meta names a `server` as a contract.

    Args:
        may_be_none: a project without any contract is no error, as before its first source.

    Raises:
        LakehouseError: names the file, table and key that is wrong, and what to write.
    """
    models = project_dir / "models"
    if not models.is_dir():
        raise LakehouseError(
            f"no dbt project in {project_dir}: the folder models is missing",
            "set LAKEHOUSE_PROJECT_DIR to the folder that holds dbt_project.yml",
        )
    tables = [
        table
        for path in sorted([*models.rglob("*.yml"), *models.rglob("*.yaml")])
        for table in _tables_of(path, project_dir)
    ]
    if not tables and not may_be_none:
        raise LakehouseError(
            f"no contract below {models}",
            "add a source with config.meta.server to a YAML file, as docs/data-engineer.md shows",
        )
    return Contracts(tables)


def _tables_of(path: Path, project_dir: Path) -> list[Table]:
    file = str(path.relative_to(project_dir.parent))
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise LakehouseError(f"{file} is not YAML: {error}", "correct the file") from None
    if not isinstance(content, dict):
        raise LakehouseError(f"{file} holds no mapping", "start it with `version: 2`")
    sources = [s for s in content.get("sources") or [] if "server" in _meta(s)]
    return [_table(source, entry, file) for source in sources for entry in source.get("tables", [])]


def _meta(node: dict[str, Any]) -> dict[str, Any]:
    return (node.get("config") or {}).get("meta") or {}


def _refuse_misplaced(node: dict[str, Any], where: str) -> None:
    # dbt would pass over `pii: hash` in another place, and the value would land in the clear.
    config = node.get("config") or {}
    misplaced = (
        "pii", "subject", "unit", "toast", "encoding", "dropped", "key", "on_drift", "topic",
        "retention_days",
    )  # fmt: skip
    astray = [name for name in ("meta", *misplaced) if name in node]
    astray += [f"config.{name}" for name in misplaced if name in config]
    if astray:
        raise LakehouseError(
            f"{where}: {astray[0]!r} stands in the wrong place",
            "write it as `config: {meta: {...}}`",
        )


def _table(source: dict[str, Any], entry: dict[str, Any], file: str) -> Table:
    meta = _meta(source) | _meta(entry)
    where = f"{file}, table {entry.get('name', '(no name)')}"
    _refuse_misplaced(entry, where)
    table_fields = (
        "server", "namespace", "connector", "key", "epoch", "unavailable_marker", "on_drift",
        "retention_days", "owner",
    )  # fmt: skip
    known = (*table_fields, "topic")
    unknown = sorted(set(_meta(entry)) - set(known))
    if unknown:
        raise LakehouseError(
            f"{where}: unknown key {unknown[0]!r} under config.meta",
            f"known keys are {', '.join(known)}",
        )
    try:
        columns = [_column(column, where) for column in entry.get("columns") or []]
        return Table(
            name=entry["name"],
            columns=tuple(columns),
            file=file,
            shared_topic=meta.get("topic"),
            fresh_within=_fresh_within(source, entry, where),
            **{name: meta[name] for name in table_fields if name in meta},
        )
    except KeyError as error:
        raise LakehouseError(f"{where}: {error} is missing", f"write `{error.args[0]}:`") from None
    except ValidationError as error:
        raise _explained(error, where) from None


def _fresh_within(source: dict[str, Any], entry: dict[str, Any], where: str) -> timedelta | None:
    """The table's `freshness.warn_after`, else that of its source; null means none."""
    for node in (entry, source):
        config = node.get("config") or {}
        if "freshness" in config:
            told = (config["freshness"] or {}).get("warn_after")
            if told is None:
                return None
            try:
                return timedelta(**{f"{told['period']}s": told["count"]})
            except (KeyError, TypeError):
                raise LakehouseError(
                    f"{where}: freshness.warn_after cannot be read",
                    "write `warn_after: {count: 1, period: day}`; or hour, or minute",
                ) from None
    return None


def _column(node: dict[str, Any], where: str) -> Column:
    where = f"{where}, column {node.get('name', '(no name)')}"
    _refuse_misplaced(node, where)
    if "data_type" not in node:
        raise LakehouseError(f"{where}: data_type is missing", TYPES_HINT)
    try:
        return Column(name=node.get("name", ""), type=node["data_type"], **_meta(node))
    except ValidationError as error:
        raise _explained(error, where) from None


def _explained(error: ValidationError, where: str) -> LakehouseError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "table"
    key = {"shared_topic": "topic"}.get(key, key)
    message = first["msg"].removeprefix("Value error, ")
    remedies = {
        "missing": f"write `{key}:` under config.meta of the source or the table",
        "extra_forbidden": "a column's config.meta knows only pii, subject, unit, toast, encoding "
        "and dropped",
        "literal_error": f"correct the value of {key}",
    }
    remedy = remedies.get(first["type"], "correct the entry; docs/data-engineer.md has an example")
    return LakehouseError(f"{where}: {key}: {message}", remedy)
