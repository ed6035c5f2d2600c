"""dbt in process: a project parsed once, built in parts; tells what failed, on which rows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from pipelines.errors import LakehouseError, Unavailable
from pipelines.lake.duck import connect_warehouse
from pipelines.settings import EMBEDDED, Settings
from pipelines.targets import environment

_SHOWN_ROWS = 5
_SHOWN_MESSAGE = 300
# As the clients of Trino and Spark tell that nobody answers.
_AWAY = (
    "connection refused", "max retries exceeded", "name resolution", "connection reset",
    "could not connect to", "remote end closed connection", "server is starting up",
)  # fmt: skip


@dataclass(frozen=True)
class Failure:
    """A model or test that failed.

    Attributes:
        node: name of the test or model.
        models: the models that it concerns.
        rows: the first offending rows, as dicts (tests only).
    """

    node: str
    kind: str
    models: list[str]
    message: str
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __str__(self) -> str:
        where = f" on {', '.join(self.models)}" if self.models else ""
        shown = "".join(f"\n    {json.dumps(row, default=str)}" for row in self.rows)
        return f"{self.kind} {self.node}{where}: {self.message}{shown}"


class BuildFailed(LakehouseError):
    """At least one model or test failed; what is published stays as it was, if anything is.

    Spark has no publication: there the tables themselves are what readers see.
    """

    def __init__(self, failures: list[Failure], target: str = EMBEDDED) -> None:
        self.failures = failures
        named = "\n  ".join(str(failure) for failure in failures)
        meanwhile = "the published marts stay as they were"
        look = "`lakehouse sql --help` tells how to look at staging"
        if target != EMBEDDED:
            look = "`dbt show` in the project shows the rows of a test"
        if target == "spark":
            meanwhile = "and the marts on Spark may hold what failed"
        super().__init__(
            f"the dbt build failed, {meanwhile}:\n  {named}",
            f"correct the data or the model, then run again; {look}",
        )


class Project:
    """dbt's project for one run.

    Args:
        on_node: told the name of each model and test that is done.

    Attributes:
        manifest: dbt's own, with every node of the project.

    Raises:
        UsageError: the settings do not tell enough of the server.
        LakehouseError: dbt cannot parse the project.
    """

    def __init__(
        self, settings: Settings, on_node: Callable[[str], None] = lambda name: None
    ) -> None:
        self._settings = settings
        self._on_node = on_node
        self.manifest: Any = None
        self.manifest = self._invoke(["parse"])

    @property
    def artifacts(self) -> Path:
        """The folder of what dbt tells of the project."""
        return self._settings.state / "dbt"

    def selected(self, *arguments: str) -> list[str]:
        """Names of the models that dbt's arguments select."""
        found = self._invoke(["ls", "--resource-type", "model", "--output", "name", *arguments])
        return list(found or [])

    def build(
        self,
        *arguments: str,
        on_results: Callable[[list[Any]], None] = lambda results: None,
        unit_tests: bool = False,
    ) -> list[Any]:
        """Build and test nodes; returns dbt's results.

        Args:
            on_results: is given them, too, also where some have failed.
            unit_tests: run them, too: they tell of the project, not of the data.

        Raises:
            BuildFailed: names each failed test or model, and the first rows of each failed test.
            Unavailable: the server that builds is not reached.
        """
        left_out = () if unit_tests else ("--exclude-resource-type", "unit_test")
        found = self._invoke(["build", *left_out, *arguments])
        results = list(getattr(found, "results", None) or [])
        on_results(results)
        failures = [_failure(r, self._settings) for r in results if _has_failed(r)]
        for failure in failures:
            _refuse_to_blame(self._settings, failure.message)
        if failures:
            raise BuildFailed(failures, self._settings.target)
        return results

    def document(self) -> Path:
        """Write dbt's own pages, and the SQL of all models into the manifest; needs no database.

        Returns:
            One HTML file that needs nothing beside it.
        """
        self._invoke(["docs", "generate", "--static", "--empty-catalog"])
        return self._settings.state / "dbt" / "static_index.html"

    def _invoke(self, arguments: list[str]) -> Any:
        # Imported only where a build is due: it takes seconds, which `sql` and `status` need not
        # wait.
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager
        from dbt.cli.main import dbtRunner

        def tell(event: Any) -> None:
            if event.info.name in ("LogModelResult", "LogTestResult"):
                self._on_node(str(event.data.node_info.node_name))

        settings = self._settings
        common = [
            "--project-dir", str(settings.project_dir),
            "--profiles-dir", str(settings.project_dir),
            "--target", settings.target,
            "--target-path", str(self.artifacts),
            "--log-path", str(settings.home / "logs"),
            "--log-level", "none",
            "--log-level-file", "info",
            "--no-use-colors",
        ]  # fmt: skip
        settings.scratch.mkdir(parents=True, exist_ok=True)
        with environment(settings):
            try:
                runner = dbtRunner(manifest=self.manifest, callbacks=[tell])
                outcome = runner.invoke([*arguments, *common])
            finally:
                # dbt keeps the file open, and with it everybody else out.
                DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
        is_told = getattr(outcome.result, "results", None)
        if outcome.exception is not None or (not outcome.success and not is_told):
            _refuse_to_blame(self._settings, str(outcome.exception))
            raise LakehouseError(
                f"dbt could not run: {outcome.exception or 'see the log'}",
                f"details are in {settings.home / 'logs' / 'dbt.log'}",
            )
        return outcome.result


def _refuse_to_blame(settings: Settings, message: str) -> None:
    """Of a server that is away, no model or test is guilty."""
    if settings.target != EMBEDDED and any(sign in message.lower() for sign in _AWAY):
        raise Unavailable(
            f"{settings.target} is not reached: {' '.join(message.split())[:_SHOWN_MESSAGE]}",
            "start the server, or correct its address; then run again: it continues where it "
            "stopped",
        )


def _has_failed(result: Any) -> bool:
    return str(result.status) in ("error", "fail", "runtime error")


def _failure(result: Any, settings: Settings) -> Failure:
    node = result.node
    models = [name.split(".")[-1] for name in node.depends_on.nodes if name.startswith("model.")]
    is_test = node.resource_type == "test"
    has_rows = is_test and node.compiled_code and settings.target == EMBEDDED
    rows = _offending_rows(node.compiled_code, settings) if has_rows else []
    return Failure(
        node=node.name,
        kind=str(node.resource_type),
        models=models if is_test else [],
        message=" ".join(str(result.message).split()),
        rows=rows,
    )


def _offending_rows(test_sql: str, settings: Settings) -> list[dict[str, Any]]:
    # A not_null test selects but the empty column; the row around it is what a person needs.
    test_sql = re.sub(
        r"^\s*select\s+(\S+)\s+(from\s.+\swhere\s+\1\s+is\s+null)\s*$",
        r"select * \2",
        test_sql,
        flags=re.IGNORECASE | re.DOTALL,
    )
    with connect_warehouse(settings) as connection:
        try:
            found = connection.execute(f"select * from ({test_sql}) limit {_SHOWN_ROWS}")
            names = [column[0] for column in found.description or []]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        except duckdb.Error as error:
            return [{"rows": f"cannot be shown: {error}"}]
