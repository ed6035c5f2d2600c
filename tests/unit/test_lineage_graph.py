"""What `lakehouse lineage` makes of the events that are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import UsageError
from pipelines.lake.ids import new_run_id
from pipelines.lineage import facets, store
from pipelines.lineage.events import Dataset, Event, Run, State, event
from pipelines.lineage.facets import Origin
from pipelines.lineage.graph import Graph, Step
from pipelines.settings import Settings

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def made(
    job: str,
    target: str,
    columns: dict[str, list[tuple[str, str]]],
    *,
    rows: list[tuple[str, str]] | None = None,
    state: State = "COMPLETE",
    minute: int = 0,
) -> Event:
    """A job that has made a table; columns are told as (`schema.table.column`, way)."""

    def origin(text: str, way: str) -> Origin:
        table, _, column = text.rpartition(".")
        return Origin("lakehouse", table, column, (way,))

    origins = {name: [origin(*one) for one in told] for name, told in columns.items()}
    deciding = [origin(*one) for one in rows or []]
    lineage = facets.column_lineage(origins, deciding)
    read = {one.name for told in [*origins.values(), deciding] for one in told}
    about = {"schema": facets.schema(dict.fromkeys(columns, "x")), "columnLineage": lineage}
    run = Run("lakehouse", job, parent=Run("lakehouse", "lakehouse run"))
    return event(
        state,
        run,
        BEGAN + timedelta(minutes=minute),
        inputs=[Dataset("lakehouse", name) for name in sorted(read)],
        outputs=[Dataset("lakehouse", target, about)] if columns else [],
    )


STAGED = made(
    "build.staging.stg_sale",
    "staging.stg_sale",
    {"net_amount": [("raw.sale.net", "IDENTITY")], "sale_id": [("raw.sale.id", "IDENTITY")]},
    rows=[("raw.sale.deleted", "FILTER")],
)
SUMMED = made(
    "build.marts.sales",
    "marts.sales",
    {
        "total": [("staging.stg_sale.net_amount", "AGGREGATION")],
        "share": [
            ("staging.stg_sale.net_amount", "TRANSFORMATION"),
            ("staging.stg_sale.sale_id", "WINDOW"),
        ],
        "place": [("staging.stg_sale.sale_id", "WINDOW")],
    },
)
SHOWN = made("dashboard", "superset.board", {"Total": [("marts.sales.total", "IDENTITY")]})
ALL = [STAGED, SUMMED, SHOWN]


def outline(step: Step) -> Any:
    """A tree as nested dicts of names."""
    return {str(below.place): outline(below) for below in step.steps}


def tree(name: str, direction: Any, events: list[Event] = ALL, **options: bool) -> Any:
    graph = Graph(events)
    (place,) = graph.find(name)
    return outline(graph.tree(place, direction, **options))


def test_a_column_leads_from_the_dashboard_to_the_source() -> None:
    assert tree("superset.board.total", "upstream") == {
        "marts.sales.total": {"staging.stg_sale.net_amount": {"raw.sale.net": {}}}
    }


def test_a_column_leads_to_all_that_is_made_of_it() -> None:
    assert tree("raw.sale.net", "downstream") == {
        "staging.stg_sale.net_amount": {
            "marts.sales.total": {"superset.board.Total": {}},
            "marts.sales.share": {},
        }
    }


def test_a_table_leads_from_table_to_table() -> None:
    assert tree("marts.sales", "upstream") == {"staging.stg_sale": {"raw.sale": {}}}
    assert tree("raw.sale", "downstream") == {
        "staging.stg_sale": {"marts.sales": {"superset.board": {}}}
    }


def test_what_only_decides_is_told_where_there_is_nothing_else_or_if_asked() -> None:
    share, place = tree("marts.sales.share", "upstream"), tree("marts.sales.place", "upstream")
    assert list(share) == ["staging.stg_sale.net_amount"]
    assert place == {"staging.stg_sale.sale_id": {"raw.sale.id": {}}}
    asked = tree("marts.sales.share", "upstream", indirect=True)
    assert list(asked) == ["staging.stg_sale.net_amount", "staging.stg_sale.sale_id"]
    assert list(asked["staging.stg_sale.net_amount"]) == ["raw.sale.net", "raw.sale.deleted"]


def test_columns_in_a_circle_end() -> None:
    first = made("a", "marts.a", {"x": [("marts.b.x", "IDENTITY")]})
    second = made("b", "marts.b", {"x": [("marts.a.x", "IDENTITY")]})
    assert tree("marts.a.x", "upstream", [first, second]) == {"marts.b.x": {"marts.a.x": {}}}


@pytest.mark.parametrize(
    ("name", "cause", "alike"),
    [
        ("marts.sale", "a table or column marts.sale", "marts.sales"),
        ("sales", "a table or column sales", "marts.sales"),
        ("marts.sales.totl", "a column totl in marts.sales", "total"),
        ("marts.sals.total", "a table or column marts.sals.total", "marts.sales"),
        ("marts.sales.qqqq", "a column qqqq in marts.sales", "place, share, total"),
        ("zzz", "a table or column zzz", "write schema.table"),
    ],
)
def test_an_unknown_name_is_an_error_that_names_what_is_alike(
    name: str, cause: str, alike: str
) -> None:
    with pytest.raises(UsageError) as refused:
        Graph(ALL).find(name)
    assert cause in refused.value.cause
    assert alike in refused.value.remedy


def test_names_are_found_whatever_their_case() -> None:
    assert tree("MARTS.Sales", "upstream") == {"staging.stg_sale": {"raw.sale": {}}}


def test_a_failed_last_run_keeps_what_is_known_and_tells_the_failure() -> None:
    broken = {"total": [("raw.sale.id", "IDENTITY")]}
    failed = made("build.marts.sales", "marts.sales", broken, state="FAIL", minute=5)
    graph = Graph([*ALL, failed])
    (place,) = graph.find("marts.sales.total")
    (below,) = graph.tree(place, "upstream").steps
    assert str(below.place) == "staging.stg_sale.net_amount"
    assert below.via is not None
    assert below.via.job.state == "failed"
    assert below.via.job.run_id == failed["run"]["facets"]["parent"]["root"]["run"]["runId"]


def test_a_model_that_reads_another_table_now_has_lost_the_former_one() -> None:
    now = made(
        "build.marts.sales", "marts.sales", {"total": [("raw.sale.net", "IDENTITY")]}, minute=5
    )
    assert tree("marts.sales", "upstream", [*ALL, now]) == {"raw.sale": {}}


# What is kept


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "lake", _env_file=None)


def runs(settings: Settings) -> list[Path]:
    return sorted((store.folder(settings) / "runs").iterdir())


def answers(settings: Settings) -> Callable[[str], Any]:
    return lambda name: tree(name, "upstream", list(store.events(settings)))


def test_older_runs_are_folded_and_every_answer_stays(settings: Settings) -> None:
    failed = made("build.marts.sales", "marts.sales", {}, state="FAIL", minute=1)
    store.append(settings, new_run_id(), [*ALL, failed])
    before = answers(settings)("superset.board.total")
    for minute in range(1, 60):
        nothing = event(
            "COMPLETE", Run("lakehouse", "lakehouse run"), BEGAN + timedelta(minutes=minute)
        )
        store.append(settings, new_run_id(), [nothing])
        store.fold(settings)
    assert len(runs(settings)) <= 2 * store.KEPT_RUNS
    assert before == answers(settings)("superset.board.total") != {}
    folded = (store.folder(settings) / "newest.jsonl").read_text().splitlines()
    # The failed job has two: what it makes, and how it is.
    assert len(folded) == len(ALL) + 2


def test_a_line_that_was_cut_off_is_passed_over(settings: Settings) -> None:
    store.append(settings, "a-run", ALL)
    with runs(settings)[0].open("a") as handle:
        handle.write(json.dumps(SHOWN)[:100])
    assert list(store.events(settings)) == ALL
