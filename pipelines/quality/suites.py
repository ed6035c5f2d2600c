"""Suites as data: a table's rules, those of its contract and those that people wrote.

What the contract of a model promises (keys, not null, accepted values, references) is read from
dbt's project, where it stands as data tests. Business rules stand in `expectations/`, a file a
table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipelines.errors import LakehouseError
from pipelines.quality.promises import Model
from pipelines.quality.rules import NO_ROWS, QUERY, Rule, Severity

Gate = Literal["staging", "marts"]
# In the order in which they are held.
GATES: tuple[Gate, ...] = ("staging", "marts")
_FULL_NAME = re.compile(r"\b[a-z_]+\.[a-z0-9_]+\b")


@dataclass(frozen=True)
class Suite:
    """All rules of a table."""

    model: Model
    rules: tuple[Rule, ...]

    @property
    def gate(self) -> Gate:
        return "staging" if self.model.layer == "staging" else "marts"


class _Weeks(BaseModel):
    """Bounds for the rows of the last whole week, as shares of the mean of up to eight before it.

    Attributes:
        of: the column with the time that counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    of: str
    least: float = Field(default=0.4, ge=0)
    most: float = Field(default=2.5, gt=0)


class _Written(BaseModel):
    """A rule as it stands in a file.

    Attributes:
        type: an expectation of Great Expectations, with its `kwargs`.
        no_row_where: a condition in SQL that no row may meet.
        usual_weeks: the table is to grow as it did in the weeks before.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    severity: Severity = "block"
    type: str | None = None
    kwargs: dict[str, Any] = {}
    no_row_where: str | None = None
    usual_weeks: _Weeks | None = None

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> _Written:
        kinds = (self.type, self.no_row_where, self.usual_weeks)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError("a rule has one of `type`, `no_row_where` and `usual_weeks`")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str
    rules: list[_Written]


def load_suites(folder: Path, models: Mapping[str, Model]) -> list[Suite]:
    """The suite of each model that has any rule.

    Args:
        folder: that of the written rules; it may be missing.
        models: by `layer.name`.

    Raises:
        LakehouseError: a file is broken, or names a table that no model makes.
    """
    written: dict[str, list[Rule]] = {}
    for path in sorted(folder.rglob("*.y*ml")):
        file = _read(path)
        origin = str(path.relative_to(folder.parent))
        if file.table not in models:
            near = get_close_matches(file.table, models, n=1)
            raise LakehouseError(
                f"{origin}: there is no table {file.table}",
                f"write {near[0]}" if near else "name a model as <schema>.<model>",
            )
        written.setdefault(file.table, []).extend(_rule(w, models, origin) for w in file.rules)
    suites = []
    for name, model in models.items():
        rules = (*model.promised, *written.get(name, []))
        _refuse_double((rule.name for rule in rules), name)
        if rules:
            suites.append(Suite(model, rules))
    return suites


def _rule(written: _Written, models: Mapping[str, Model], origin: str) -> Rule:
    type_, kwargs = written.type or NO_ROWS, dict(written.kwargs)
    if written.no_row_where is not None:
        kwargs[QUERY] = f"select * from {{batch}} where {written.no_row_where}"
    elif written.usual_weeks is not None:
        kwargs[QUERY] = _unusual_week(written.usual_weeks)
    if QUERY in kwargs:
        # A target may have the schemas under other names.
        kwargs[QUERY] = _FULL_NAME.sub(
            lambda m: models[m[0]].relation if m[0] in models else m[0], kwargs[QUERY]
        )
    return Rule(written.name, type_, kwargs, written.severity, origin)


def _unusual_week(weeks: _Weeks) -> str:
    # The last week is still to be filled; four make a habit.
    return f"""select week_start, counted, usual
        from (
            select
                week_start,
                counted,
                avg(counted) over before as usual,
                count(*) over before as weeks_before,
                row_number() over (order by week_start desc) as from_the_end
            from (
                select date_trunc('week', {weeks.of}) as week_start, count(*) as counted
                from {{batch}}
                group by 1
            ) as weekly
            window before as (order by week_start rows between 8 preceding and 1 preceding)
        ) as followed
        where from_the_end = 2 and weeks_before >= 4
            and (counted < {weeks.least} * usual or counted > {weeks.most} * usual)"""


def _refuse_double(names: Iterable[str], table: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise LakehouseError(
                f"two rules of {table} are called {name!r}", "give each rule a name of its own"
            )
        seen.add(name)


def _read(path: Path) -> _File:
    where = f"{path.parent.name}/{path.name}"
    try:
        return _File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise LakehouseError(f"{where} is not YAML: {error}", "correct the file") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        told = first["msg"].removeprefix("Value error, ")
        raise LakehouseError(
            f"{where}: {place + ': ' if place else ''}{told}",
            "write `table:` and `rules:`, as docs/data-engineer.md shows",
        ) from None
