"""What dbt built on one engine against what it built on another, row for row."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Protocol

import duckdb
import requests
import trino
from pyhive import hive

from tests.embedded.conftest import REPOSITORY

Row = tuple[Any, ...]
Rows = tuple[list[str], list[Row]]
PROJECT = REPOSITORY / "dbt_project"
# The builds are runs of their own.
RUN_COLUMNS = ("_increment_id",)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Engine(Protocol):
    """Where dbt builds, and how to ask what it has built."""

    @property
    def target(self) -> str:
        """The target of the dbt profile."""

    @property
    def environment(self) -> dict[str, str]:
        """What the dbt profile reads to build from the raw tables of the lake."""

    def query(self, sql: str) -> Rows:
        """Names of the columns, and rows."""


@dataclass(frozen=True)
class DuckDb:
    """The work file of a lake."""

    warehouse: Path
    target: str = "embedded"

    @property
    def environment(self) -> dict[str, str]:
        return {}

    def query(self, sql: str) -> Rows:
        with duckdb.connect(str(self.warehouse), read_only=True) as connection:
            connection.execute("set TimeZone = 'UTC'")
            found = connection.execute(sql)
            return [column[0] for column in found.description or []], found.fetchall()


@dataclass(frozen=True)
class TrinoServer:
    """A Trino server with a Delta catalog.

    Attributes:
        port: that of TLS.
        authority: the file of the certificate that its own is signed by.
        passwords: user → password.
        store: variables that put a lake into the store that the catalog reads.
    """

    host: str
    port: int
    authority: Path
    passwords: Mapping[str, str]
    catalog: str
    store: dict[str, str]
    target: str = "trino"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LAKEHOUSE_TRINO_HOST": self.host,
            "LAKEHOUSE_TRINO_PORT": str(self.port),
            "LAKEHOUSE_TRINO_SCHEME": "https",
            "LAKEHOUSE_TRINO_CERT": str(self.authority),
            # Counts above the former, where it is set.
            "REQUESTS_CA_BUNDLE": str(self.authority),
            "LAKEHOUSE_TRINO_PASSWORD": self.passwords["dbt"],
            "LAKEHOUSE_TRINO_CATALOG": self.catalog,
            "LAKEHOUSE_TRINO_USER": "dbt",
            "LAKEHOUSE_TRINO_RAW": f"{self.store['LAKEHOUSE_STORE']}/raw",
        }

    def connection(self, user: str, password: str) -> Any:
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self.authority)
        return trino.dbapi.connect(  # type: ignore[no-untyped-call]
            http_session=session,
            host=self.host,
            port=self.port,
            http_scheme="https",
            catalog=self.catalog,
            user=user,
            auth=trino.auth.BasicAuthentication(user, password),
            timezone="UTC",
        )

    def query(self, sql: str, user: str = "admin") -> Rows:
        cursor = self.connection(user, self.passwords[user]).cursor().execute(sql)
        rows = [tuple(row) for row in cursor.fetchall()]
        return [column[0] for column in cursor.description or []], rows


# Its protocol has texts for these.
_READ: dict[str, Callable[[str], Any]] = {
    "DATE_TYPE": date.fromisoformat,
    "DECIMAL_TYPE": Decimal,
    "TIMESTAMP_TYPE": datetime.fromisoformat,
}


@dataclass(frozen=True)
class SparkServer:
    """Spark's Thrift server, with the metastore and the store that Trino has.

    Attributes:
        store: variables that put a lake into that store.
    """

    host: str
    port: int
    store: dict[str, str]
    target: str = "spark"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LAKEHOUSE_SPARK_HOST": self.host,
            "LAKEHOUSE_SPARK_PORT": str(self.port),
            "LAKEHOUSE_SPARK_RAW": f"{self.store['LAKEHOUSE_STORE']}/raw",
        }

    def connect(self) -> hive.Connection:
        return hive.connect(self.host, self.port, username="test", auth="NONE")

    def query(self, sql: str) -> Rows:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            columns = [column[:2] for column in cursor.description or []]
            rows = cursor.fetchall() if columns else []
        readers = [_READ.get(kind) for _, kind in columns]
        return [name for name, _ in columns], [
            tuple(
                value if read is None or not isinstance(value, str) else read(value)
                for read, value in zip(readers, row, strict=True)
            )
            for row in rows
        ]


@dataclass(frozen=True)
class Difference:
    """The first row that one engine has and the other has not.

    Attributes:
        columns: those in which it differs from the row of the other engine that is most like it;
            empty where there is none left.
        rows: engine → its row, None where it has none.
    """

    model: str
    columns: list[str]
    rows: dict[str, dict[str, Any] | None]

    def __str__(self) -> str:
        return f"{self.model}: {', '.join(self.columns) or 'a row'} differs\n" + "\n".join(
            f"  {engine}: {row}" for engine, row in self.rows.items()
        )


def dbt(engine: Engine, home: Path, *arguments: str) -> None:
    """Run dbt in a process of its own; fails the test when dbt fails."""
    folder = _target_folder(engine, home)
    done = subprocess.run(
        [str(Path(sys.executable).parent / "dbt"), *arguments, "--target", engine.target,
         "--target-path", str(folder), "--log-path", str(folder)],
        cwd=PROJECT, capture_output=True, text=True, check=False, timeout=1200,
        env=os.environ | {"LAKEHOUSE_HOME": str(home), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
        | engine.environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]


def _target_folder(engine: Engine, home: Path) -> Path:
    return home / "dbt" / engine.target


def models(engine: Engine, home: Path) -> dict[str, str]:
    """The models of the last build, and where the engine has them, in the order of building."""
    told = _target_folder(engine, home)
    manifest = json.loads((told / "manifest.json").read_text())
    results = json.loads((told / "run_results.json").read_text())["results"]
    built = {result["unique_id"] for result in results}
    nodes = {
        name: node
        for name, node in manifest["nodes"].items()
        if node["resource_type"] == "model" and name in built
    }
    order = TopologicalSorter(
        {
            name: [n for n in node["depends_on"]["nodes"] if n in nodes]
            for name, node in nodes.items()
        }
    ).static_order()
    return {nodes[n]["name"]: f"{nodes[n]['schema']}.{nodes[n]['name']}" for n in order}


def first_difference(
    model: str, left: tuple[str, Rows], right: tuple[str, Rows]
) -> Difference | None:
    """Compare the rows of two engines, each with its name, whatever their order."""
    (one, ours), (other, theirs) = left, right
    names = [name for name in ours[0] if name not in RUN_COLUMNS]
    assert set(names) == set(theirs[0]) - set(RUN_COLUMNS), f"{model}: the columns differ"
    mine, yours = _comparable(*ours, names), _comparable(*theirs, names)
    only_mine, only_yours = _sorted(mine - yours), _sorted(yours - mine)
    if len(only_mine) == len(only_yours) and all(map(_is_same_row, only_mine, only_yours)):
        return None
    chosen = (only_mine or only_yours)[0]
    others = only_yours if only_mine else []
    nearest = max(others, key=lambda row: sum(map(_is_same, chosen, row)), default=None)
    return Difference(
        model,
        [n for n, a, b in zip(names, chosen, nearest or chosen, strict=True) if not _is_same(a, b)],
        {
            one: _shown(names, chosen if only_mine else None),
            other: _shown(names, nearest if only_mine else chosen),
        },
    )


def _comparable(columns: list[str], rows: Iterable[Row], names: list[str]) -> Counter[Row]:
    places = [columns.index(name) for name in names]
    return Counter(tuple(_normal(row[place]) for place in places) for row in rows)


def _normal(value: Any) -> Any:
    """Times in milliseconds: Trino has no more of them in raw tables."""
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return (aware - _EPOCH) // timedelta(milliseconds=1)
    return tuple(value) if isinstance(value, list) else value


def _sorted(rows: Counter[Row]) -> list[Row]:
    """In an order to which the last digits of a float do not matter."""

    def by_exact_values_first(row: Row) -> tuple[Any, ...]:
        floats = [(v is not None, v) for v in row if isinstance(v, float)]
        return ([(v is not None, v) for v in row if not isinstance(v, float)], floats)

    return sorted(rows.elements(), key=by_exact_values_first)


def _is_same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9)
    return bool(left == right)


def _is_same_row(left: Row, right: Row) -> bool:
    return all(map(_is_same, left, right))


def _shown(names: Sequence[str], row: Row | None) -> dict[str, Any] | None:
    return None if row is None else dict(zip(names, row, strict=True))
