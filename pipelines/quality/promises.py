"""What the contract of a model promises: its data tests in dbt's project, as rules.

A gate checks them instead of dbt, so that what they find is kept by row; dbt still runs all others,
and on its own command line these, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pipelines.quality.rules import NO_ROWS, QUERY, Rule, Severity

_REF = re.compile(r"ref\('(\w+)'\)")
_COUNTED = ("!= 0", "count(*)")


@dataclass(frozen=True)
class Model:
    """A table that dbt makes.

    Attributes:
        layer: staging, intermediate or marts: the folder of its file; its schema where none is.
        schema: where the target has it.
        key: columns by which a person finds a row again; empty where no test names any.
        promised: rules of its data tests.
    """

    layer: str
    schema: str
    name: str
    key: tuple[str, ...]
    promised: tuple[Rule, ...]

    @property
    def full_name(self) -> str:
        """Its name on any target: `marts.fct_sale`."""
        return f"{self.layer}.{self.name}"

    @property
    def relation(self) -> str:
        """Its name on this target."""
        return f"{self.schema}.{self.name}"


def models(manifest: Any) -> dict[str, Model]:
    """The models of a project by their full names, each with the rules of its data tests.

    Args:
        manifest: dbt's own, parsed.
    """
    nodes = list(manifest.nodes.values())
    relations = {n.name: f"{n.schema}.{n.alias}" for n in nodes if _is(n, "model")}
    tests: dict[str, list[Any]] = {}
    for test in nodes:
        if _is(test, "test") and _is_translated(test):
            tests.setdefault(test.attached_node, []).append(test)
    found = {}
    for node in nodes:
        if not _is(node, "model") or str(node.config.materialized) == "ephemeral":
            continue
        promised = tests.get(node.unique_id, [])
        rules = (_rule(test, relations) for test in promised)
        layer = node.fqn[1] if len(node.fqn) > 2 else node.schema
        model = Model(layer, node.schema, node.alias, _key(promised), tuple(rules))
        found[model.full_name] = model
    return found


def translated(manifest: Any) -> list[str]:
    """Names of the data tests that are rules of a gate."""
    return [n.name for n in manifest.nodes.values() if _is(n, "test") and _is_translated(n)]


def _is(node: Any, kind: str) -> bool:
    return str(node.resource_type) == kind


def _is_translated(test: Any) -> bool:
    """Whether it is of a kind that has a rule, and nothing in its configuration changes it."""
    kind = test.test_metadata.name if getattr(test, "test_metadata", None) else None
    config = test.config
    return (
        kind in _EXPECTATIONS
        and config.enabled
        and (config.error_if, config.fail_calc) == _COUNTED
        and config.warn_if == _COUNTED[0]
        and config.where is None
        and config.limit is None
        and test.attached_node is not None
    )


def _rule(test: Any, relations: dict[str, str]) -> Rule:
    type_, kwargs = _EXPECTATIONS[test.test_metadata.name](test.test_metadata.kwargs, relations)
    severity: Severity = "warn" if str(test.config.severity).lower() == "warn" else "block"
    return Rule(test.name, type_, kwargs, severity, str(test.original_file_path))


def _key(tests: Iterable[Any]) -> tuple[str, ...]:
    for test in tests:
        kwargs = test.test_metadata.kwargs
        if test.test_metadata.name == "unique":
            return (kwargs["column_name"],)
        if test.test_metadata.name == "unique_combination":
            return tuple(kwargs["columns"])
    return ()


def _no_rows(sql: str) -> tuple[str, dict[str, Any]]:
    return NO_ROWS, {QUERY: sql}


def _unique_combination(kwargs: dict[str, Any], _: dict[str, str]) -> tuple[str, dict[str, Any]]:
    # Great Expectations' own passes over rows with a NULL in the key.
    columns = ", ".join(kwargs["columns"])
    return _no_rows(
        f"select {columns}, count(*) as copies from {{batch}} "
        f"group by {columns} having count(*) > 1"
    )


def _relationships(kwargs: dict[str, Any], relations: dict[str, str]) -> tuple[str, dict[str, Any]]:
    column, field = kwargs["column_name"], kwargs["field"]
    match = _REF.fullmatch(kwargs["to"])
    parent = relations[match[1]] if match else kwargs["to"]
    return _no_rows(
        f"select * from (select * from {{batch}}) as child where {column} is not null "
        f"and not exists (select 1 from {parent} as parent where parent.{field} = child.{column})"
    )


_EXPECTATIONS: dict[str, Callable[[dict[str, Any], dict[str, str]], tuple[str, dict[str, Any]]]] = {
    "not_null": lambda kwargs, _: (
        "expect_column_values_to_not_be_null", {"column": kwargs["column_name"]}
    ),
    "unique": lambda kwargs, _: (
        "expect_column_values_to_be_unique", {"column": kwargs["column_name"]}
    ),
    "accepted_values": lambda kwargs, _: (
        "expect_column_values_to_be_in_set",
        {"column": kwargs["column_name"], "value_set": kwargs["values"]},
    ),
    "unique_combination": _unique_combination,
    "relationships": _relationships,
}  # fmt: skip
