"""What dbt built on DuckDB against what it built on Trino, row for row."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import duckdb
import requests
import trino

from tests.embedded.conftest import REPOSITORY

Row = tuple[Any, ...]
PROJECT = REPOSITORY / "dbt_project"
# The two builds are two runs.
RUN_COLUMNS = ("_increment_id",)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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

    @property
    def environment(self) -> dict[str, str]:
        """What the dbt profile reads to build from the raw tables of that lake."""
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

    def query(self, sql: str, user: str = "admin") -> tuple[list[str], list[Row]]:
        """Names of the columns, and rows."""
        cursor = self.connection(user, self.passwords[user]).cursor().execute(sql)
        rows = [tuple(row) for row in cursor.fetchall()]
        return [column[0] for column in cursor.description or []], rows


@dataclass(frozen=True)
class Difference:
    """The first row that one engine has and the other has not.

    Attributes:
        columns: those in which it differs from the row of the other engine that is most like it;
            empty where there is none left.
    """

    model: str
    columns: list[str]
    duckdb: dict[str, Any] | None
    trino: dict[str, Any] | None

    def __str__(self) -> str:
        return f"{self.model}: {', '.join(self.columns) or 'a row'} differs\n" + "\n".join(
            f"  {engine}: {row}" for engine, row in [("duckdb", self.duckdb), ("trino", self.trino)]
        )


def dbt(target: str, home: Path, *arguments: str, env: dict[str, str] | None = None) -> None:
    """Run dbt in a process of its own; fails the test when dbt fails."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "dbt"), *arguments, "--target", target,
         "--target-path", str(home / "dbt" / target), "--log-path", str(home / "dbt" / target)],
        cwd=PROJECT, capture_output=True, text=True, check=False, timeout=1200,
        env=os.environ | {"LAKEHOUSE_HOME": str(home), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
        | (env or {}),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]


def models(manifest: Path) -> list[str]:
    """Tables and views of the project as schema.name, those first that others are made of."""
    nodes = {
        name: node
        for name, node in json.loads(manifest.read_text())["nodes"].items()
        if node["resource_type"] == "model"
    }
    order = TopologicalSorter(
        {
            name: [n for n in node["depends_on"]["nodes"] if n in nodes]
            for name, node in nodes.items()
        }
    ).static_order()
    return [f"{nodes[name]['schema']}.{nodes[name]['name']}" for name in order]


def duckdb_rows(warehouse: Path, model: str) -> tuple[list[str], list[Row]]:
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        found = connection.execute(f"select * from {model}")
        return [column[0] for column in found.description or []], found.fetchall()


def first_difference(
    model: str, ours: tuple[list[str], list[Row]], theirs: tuple[list[str], list[Row]]
) -> Difference | None:
    """Compare the rows of DuckDB with those of Trino, whatever their order."""
    names = [name for name in ours[0] if name not in RUN_COLUMNS]
    assert set(names) == set(theirs[0]) - set(RUN_COLUMNS), f"{model}: the columns differ"
    left, right = _comparable(*ours, names), _comparable(*theirs, names)
    only_left, only_right = _sorted(left - right), _sorted(right - left)
    if len(only_left) == len(only_right) and all(map(_is_same_row, only_left, only_right)):
        return None
    chosen = (only_left or only_right)[0]
    others = only_right if only_left else []
    nearest = max(others, key=lambda row: sum(map(_is_same, chosen, row)), default=None)
    return Difference(
        model,
        [n for n, a, b in zip(names, chosen, nearest or chosen, strict=True) if not _is_same(a, b)],
        _shown(names, chosen if only_left else None),
        _shown(names, nearest if only_left else chosen),
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
