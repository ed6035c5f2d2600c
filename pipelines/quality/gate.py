"""A gate: the suites of a layer, checked by a checkpoint of Great Expectations on any target."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar

from pipelines.errors import LakehouseError, Unavailable
from pipelines.quality.results import MOST_ROWS, GateReport, Result
from pipelines.quality.rules import NO_ROWS, QUERY, Rule
from pipelines.quality.suites import Gate, Suite
from pipelines.quality.warehouse import Warehouse

# Read when the package is imported: nothing may call out.
os.environ["GX_ANALYTICS_ENABLED"] = "false"

import great_expectations as gx
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.datasource.fluent.interfaces import TestConnectionError
from great_expectations.expectations.core.unexpected_rows_expectation import (
    UnexpectedRowsExpectation,
)
from great_expectations.expectations.metadata_types import FailureSeverity
from great_expectations.expectations.registry import (
    get_expectation_impl,
    list_registered_expectation_implementations,
)
from sqlalchemy.exc import DBAPIError

_SHOWN_ROWS = 3
_SEVERITIES = {"block": FailureSeverity.CRITICAL, "warn": FailureSeverity.WARNING}
_INDEX_QUERY = "unexpected_index_query"
_ROW_COUNT = "unexpected_rows_query.row_count"


class CountedRowsExpectation(UnexpectedRowsExpectation):
    """As its parent, but only counts: rows are fetched where there are any, and once."""

    metric_dependencies: ClassVar[tuple[str, ...]] = (_ROW_COUNT,)

    def _validate(self, metrics: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
        count = metrics[_ROW_COUNT]
        return {"success": count == 0, "result": {"observed_value": count}}


class Inspector:
    """Checks suites on one warehouse; made once a run, for it takes seconds to begin."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._context: Any = gx.get_context(
            mode="ephemeral",
            project_config=DataContextConfig(
                store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
                progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
                analytics_enabled=False,
            ),
        )
        self._source: Any = None

    def check(self, gate: Gate, suites: Sequence[Suite]) -> GateReport:
        """Check all rules of a gate.

        Raises:
            LakehouseError: a rule cannot be checked: it names a column that is not there, or an
                expectation that nobody knows, or its query fails.
            Unavailable: the warehouse cannot be reached, or went away amid the check.
        """
        chosen = [suite for suite in suites if suite.gate == gate]
        if not chosen:
            return GateReport(gate, [])
        if self._source is None:
            try:
                self._source = self._context.data_sources.add_sql(
                    "warehouse",
                    connection_string=self._warehouse.url,
                    kwargs={"connect_args": self._warehouse.connect_args},
                )
            except TestConnectionError as error:
                raise _unreached(gate, error) from None
        try:
            return GateReport(gate, self._results(gate, chosen))
        except Exception:
            self._refuse_silence(gate)
            raise

    def _results(self, gate: Gate, chosen: Sequence[Suite]) -> list[Result]:
        self._refuse_missing_columns(chosen)
        definitions = {suite.model.full_name: self._definition(suite) for suite in chosen}
        checkpoint = self._context.checkpoints.add_or_update(
            gx.Checkpoint(
                name=gate,
                validation_definitions=list(definitions.values()),
                result_format="BASIC",
            )
        )
        found = checkpoint.run()
        by_table = {told.suite_name: told for told in found.run_results.values()}
        return [
            self._result(suite, rule, told)
            for suite in chosen
            for rule, told in _pairs(suite, by_table[suite.model.full_name])
        ]

    def write_docs(self, folder: Path) -> None:
        """Write Great Expectations' pages of all checked so far, in place of what lies there."""
        draft = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(draft, ignore_errors=True)
        name = folder.name
        site = {
            "class_name": "SiteBuilder",
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {
                "class_name": "TupleFilesystemStoreBackend",
                "base_directory": str(draft),
            },
        }
        if name in self._context.get_site_names():
            self._context.update_data_docs_site(name, site)
        else:
            self._context.add_data_docs_site(name, site)
        self._context.build_data_docs(site_names=[name])
        shutil.rmtree(folder, ignore_errors=True)
        draft.replace(folder)

    def close(self) -> None:
        """Let go of the warehouse: while it is open, nobody may write to it."""
        if self._source is not None:
            self._source.get_engine().dispose()
            self._source.get_execution_engine().close()

    def _definition(self, suite: Suite) -> Any:
        name = suite.model.full_name
        # A gate may be tried again.
        expectations = self._context.suites.add_or_update(
            gx.ExpectationSuite(
                name=name, expectations=[_expectation(rule, suite) for rule in suite.rules]
            )
        )
        if name in self._source.get_asset_names():
            self._source.delete_asset(name)
        asset = self._source.add_table_asset(
            name, table_name=suite.model.name, schema_name=suite.model.schema
        )
        return self._context.validation_definitions.add_or_update(
            gx.ValidationDefinition(
                name=name, data=asset.add_batch_definition_whole_table("all"), suite=expectations
            )
        )

    def _refuse_silence(self, gate: Gate) -> None:
        """Where the warehouse answers nothing at all, no rule is to blame."""
        try:
            self._query("select 1")
        except Exception as error:
            raise _unreached(gate, error) from None

    def _refuse_missing_columns(self, suites: Sequence[Suite]) -> None:
        schemas = sorted({suite.model.schema for suite in suites})
        listed = ", ".join(f"'{schema}'" for schema in schemas)
        there: dict[str, list[str]] = {}
        for row in self._query(
            "select table_schema, table_name, column_name from information_schema.columns "
            f"where table_schema in ({listed})"
        ):
            schema, table, column = row.values()
            there.setdefault(f"{schema}.{table}", []).append(column)
        for suite in suites:
            columns = there.get(suite.model.relation, [])
            for rule in suite.rules:
                for column in rule.columns:
                    if column not in columns:
                        near = get_close_matches(column, columns, n=1)
                        raise LakehouseError(
                            f"{rule.origin}: rule {rule.name!r} names the column {column}, which "
                            f"{suite.model.full_name} has not",
                            f"write {near[0]}" if near else f"it has {', '.join(columns)}",
                        )

    def _query(self, sql: str, most: int | None = None) -> list[dict[str, Any]]:
        with self._source.get_engine().connect() as connection:
            answer = connection.exec_driver_sql(sql.rstrip().rstrip(";")).mappings()
            rows = answer.fetchall() if most is None else answer.fetchmany(most)
        return [dict(row) for row in rows]

    def _result(self, suite: Suite, rule: Rule, told: Any) -> Result:
        _refuse_exception(rule, suite, told.exception_info)
        found, success, key = told.result, bool(told.success), suite.model.key
        rows = [] if success else self._broken(suite, rule)
        is_of_rows = "unexpected_count" in found or rule.type == NO_ROWS
        if not is_of_rows or (rows and not set(key) <= set(rows[0])):
            observed = rows[:_SHOWN_ROWS] if is_of_rows else found.get("observed_value")
            return Result(suite.model.full_name, rule, success, observed=_text(observed))
        # Of a table without rows nothing is told.
        failed = found["observed_value" if rule.type == NO_ROWS else "unexpected_count"] or 0
        return Result(
            table=suite.model.full_name,
            rule=rule,
            success=success,
            checked=found.get("element_count"),
            failed=int(failed),
            key=key,
            rows=rows,
        )

    def _broken(self, suite: Suite, rule: Rule) -> list[dict[str, Any]]:
        """The rows that break a rule, with key and columns concerned."""
        if rule.type == NO_ROWS:
            query = rule.kwargs[QUERY].replace("{batch}", suite.model.relation)
            try:
                return self._query(query, MOST_ROWS)
            except DBAPIError as error:
                # Its rows could be counted without all that it selects.
                raise _unchecked(rule, suite, error) from None
        asset = self._source.get_asset(suite.model.full_name)
        told = (
            asset.get_batch_definition("all")
            .get_batch()
            .validate(
                _expectation(rule, suite),
                result_format={
                    "result_format": "COMPLETE",
                    "unexpected_index_column_names": list(suite.model.key or rule.columns),
                    "include_unexpected_rows": False,
                    "partial_unexpected_count": 0,
                },
            )
        )
        query = told.result.get(_INDEX_QUERY)
        return self._query(query, MOST_ROWS) if query else []


def _unreached(gate: Gate, error: Exception) -> Unavailable:
    told = " ".join(str(error).split())
    return Unavailable(
        f"the gate on {gate} does not reach what it is to check: {told[:300]}",
        "start the server, or end what has the work file open; then run again",
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _expectation(rule: Rule, suite: Suite) -> Any:
    """The rule as an expectation; raises where nobody knows it or its arguments do not suit."""
    where = f"{rule.origin}: rule {rule.name!r} of {suite.model.full_name}"
    known = list_registered_expectation_implementations()
    if rule.type not in known:
        near = get_close_matches(rule.type, known, n=1)
        raise LakehouseError(
            f"{where}: nobody knows the expectation {rule.type}",
            f"write {near[0]}" if near else "see Great Expectations' list of expectations",
        )
    kind = CountedRowsExpectation if rule.type == NO_ROWS else get_expectation_impl(rule.type)
    try:
        return kind(
            **rule.kwargs,
            severity=_SEVERITIES[rule.severity],
            meta={"rule": rule.name},
            notes=f"{rule.name} ({rule.origin})",
        )
    except (TypeError, ValueError) as error:
        told = " ".join(str(error).split())
        raise LakehouseError(f"{where}: {told}", "correct its kwargs") from None


def _pairs(suite: Suite, told: Any) -> Iterator[tuple[Rule, Any]]:
    """Each rule with what came of it, which comes in another order."""
    by_name = {result.expectation_config.meta["rule"]: result for result in told.results}
    return ((rule, by_name[rule.name]) for rule in suite.rules)


def _refuse_exception(rule: Rule, suite: Suite, info: dict[str, Any]) -> None:
    """An expectation that could not be computed looks like one that failed."""
    each: Iterable[Any] = [info] if "raised_exception" in info else info.values()
    for one in each:
        if one["raised_exception"]:
            raise _unchecked(rule, suite, one["exception_message"])


def _unchecked(rule: Rule, suite: Suite, told: object) -> LakehouseError:
    return LakehouseError(
        f"{rule.origin}: rule {rule.name!r} of {suite.model.full_name} cannot be checked: "
        f"{' '.join(str(told).split())}",
        "correct the rule; nothing is published before it can be checked",
    )
