"""The parts of the documentation's site: Markdown, links, the dictionary's tables and relations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.dashboards.assets import Assets, Chart, Dashboard, Dataset
from pipelines.dashboards.models import Column as ModelColumn
from pipelines.dashboards.models import Model
from pipelines.dbt_project import Project
from pipelines.docs_site.dictionary import Column, Reference, Table, dictionary
from pipelines.docs_site.links import Repository
from pipelines.docs_site.markdown import adapted
from pipelines.docs_site.notebooks import as_markdown
from pipelines.docs_site.pages import pages
from pipelines.docs_site.relations import as_mermaid, as_svg
from pipelines.docs_site.usage import usage
from pipelines.semantics import Semantics
from pipelines.settings import REPOSITORY, Settings

# -- Markdown ----------------------------------------------------------------------------------


def test_lists_are_indented_and_set_apart_as_python_markdown_needs_it() -> None:
    text = (
        "Steps:\n1. one\n   goes on\n\n   ```sh\n   ls\n     -l\n   ```\n\n   - in\n2. two\n\nend"
    )
    assert adapted(text) == (
        "Steps:\n\n1. one\n    goes on\n\n"
        "    ```sh\n    ls\n      -l\n    ```\n\n    - in\n2. two\n\nend"
    )


def test_lines_of_code_are_left_alone() -> None:
    text = "```text\nWords:\n- no list\n   1. nor this\n```"
    assert adapted(text) == text


def test_what_a_block_is_becomes_its_title() -> None:
    assert adapted("```yaml append=a/b.yml\nx: 1\n```") == '```yaml title="a/b.yml"\nx: 1\n```'
    assert adapted("```text output\nx\n```") == "```text\nx\n```"


def test_notebooks_become_pages() -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "words"]},
        {"cell_type": "code", "source": ["x = 1"], "outputs": []},
    ]
    assert as_markdown(json.dumps({"cells": cells})) == "# Title\nwords\n\n```python\nx = 1\n```\n"


# -- links -------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    for path, text in {
        "docs/README.md": "",
        "docs/deep/page.md": "",
        "docs/picture.png": "",
        "CONTRIBUTING.md": "[sql](models/a.sql) [docs](docs/deep/page.md#part)",
        "models/a.sql": "select 1",
        "models/b.yml": "x: 1",
        ".env.example": "A=1",
    }.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return Repository(tmp_path)


def test_links_out_of_the_documents_lead_to_pages_of_the_site(repository: Repository) -> None:
    text = (
        "[c](../../CONTRIBUTING.md#rules) [f](../../models) "
        "[e](../../.env.example) [p](../picture.png)"
    )
    assert repository.relinked(text, "docs/deep/page.md") == (
        "[c](../project/CONTRIBUTING.md#rules) [f](../source/models/index.md) "
        "[e](../source/env.example.md) [p](../picture.png)"
    )


def test_what_is_linked_to_has_a_page_and_what_that_links_to_as_well(
    repository: Repository,
) -> None:
    found = repository.pages({"docs/README.md": "[c](../CONTRIBUTING.md) [f](../models)"})
    assert set(found) == {
        "project/CONTRIBUTING.md", "source/models/index.md", "source/models/a.sql.md",
        "source/models/b.yml.md",
    }  # fmt: skip
    assert found["project/CONTRIBUTING.md"] == (
        "[sql](../source/models/a.sql.md) [docs](../deep/page.md#part)"
    )
    assert "````sql\nselect 1\n````" in found["source/models/a.sql.md"]
    assert "- [a.sql](a.sql.md)" in found["source/models/index.md"]


def test_dead_links_links_abroad_and_code_stay_as_they_are(repository: Repository) -> None:
    text = (
        "[dead](../gone.md) [web](https://example.org/a) `[code](../CONTRIBUTING.md)`\n"
        "```text\n[code](../CONTRIBUTING.md)\n```"
    )
    assert repository.relinked(text, "docs/README.md") == text


# -- relations ---------------------------------------------------------------------------------


def table(name: str, *columns: str, key: str, refers: tuple[Reference, ...] = ()) -> Table:
    made = tuple(Column(each, "DECIMAL(18,2)", "", (), {}, {}, ()) for each in columns)
    return Table(name, "One row a thing.", "team", (key,), made, refers)


SHOP = {
    each.name: each
    for each in (
        table("marts.dim_thing", "thing_key", "thing_id", "name", key="thing_key"),
        table(
            "marts.fct_sale", "sale_id", "thing_key", key="sale_id",
            refers=(Reference("thing_key", "marts.dim_thing", "thing_key", True),),
        ),
        table(
            "marts.mart_thing", "thing_id", "amount", key="thing_id",
            refers=(Reference("thing_id", "marts.dim_thing", "thing_id", False),),
        ),
        table("marts.dim_alone", "day", key="day"),
    )
}  # fmt: skip


def test_relations_in_mermaid_tell_keys_references_and_how_many() -> None:
    text = as_mermaid(SHOP)
    assert "    fct_sale {\n        decimal(18_2) sale_id PK\n" in text
    assert "        decimal(18_2) thing_key FK\n" in text
    assert "dim_thing |o--o{ fct_sale : thing_key" in text
    assert "dim_thing }o--o{ mart_thing : thing_id" in text
    assert "dim_alone" not in text
    assert " name " not in text


def test_the_picture_has_each_related_table_with_its_page_and_each_reference() -> None:
    picture = as_svg(SHOP)
    assert picture.count("<a href=") == 3
    assert '<a href="marts/dim_thing.html">' in picture
    assert "fct_sale.thing_key → dim_thing.thing_key" in picture
    assert picture.count('class="line loose"') == 1
    assert "amount" not in picture


# -- what charts show --------------------------------------------------------------------------


def test_charts_are_told_by_the_columns_that_they_and_their_metrics_read() -> None:
    models = {
        "marts.fct_sale": Model(
            "", "", {"day": ModelColumn("DATE", "d"), "net": ModelColumn("BIGINT", "n")}
        )
    }
    uuid = "00000000-0000-0000-0000-00000000000"
    dataset = Dataset(
        uuid=uuid + "1", model="marts.fct_sale", metrics=[],
        sql="select s.day as sold_on, s.net from marts.fct_sale as s",
    )  # fmt: skip
    chart = Chart(
        uuid=uuid + "2", title="By day", description="", dataset="sales", kind="line",
        parameters={"x_axis": "sold_on"},
    )  # fmt: skip
    dashboard = Dashboard(
        uuid=uuid + "3", title="Sales", description="", owner="team",
        rows=[{"height": 20, "charts": [{"chart": "by_day", "width": 12}]}],
    )  # fmt: skip
    dataset = dataset.model_copy(update={"describes": {"sold_on": "d"}})
    found = usage(
        Assets(
            datasets={"sales": dataset},
            charts={"by_day": chart},
            dashboards={"sales": dashboard},
            roles={},
        ),
        models,
        Semantics({"metrics": [], "semantic_models": []}),
    )
    assert found == {"marts.fct_sale": {"day": [("Sales", "By day")]}}


# -- the project's own -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Table]:
    settings = Settings(_env_file=None, home=tmp_path_factory.mktemp("docs") / "lake")
    project = Project(settings)
    project.document()
    return dictionary(settings, project, REPOSITORY)


def test_columns_are_traced_from_the_source_to_the_dashboard(shop: dict[str, Table]) -> None:
    columns = {column.name: column for column in shop["marts.fct_sale"].columns}
    assert columns["net_amount"].step == {("staging.stg_sale", "net_amount"): {"IDENTITY"}}
    assert columns["net_amount"].sources == {"shop.public.sale": ["net_amount"]}
    assert ("Sales overview", "Revenue") in columns["net_amount"].charts
    monetary = {c.name: c for c in shop["marts.mart_client_rfm"].columns}["monetary"]
    assert monetary.sources == {"shop.public.sale": ["net_amount"]}
    assert ("Clients", "Revenue per client") in monetary.charts
    assert columns["sale_id"].charts == ()


def test_a_table_tells_what_contracts_tests_gates_and_metrics_promise(
    shop: dict[str, Table],
) -> None:
    sale = shop["marts.fct_sale"]
    assert sale.key == ("sale_id",)
    assert sale.owner == "data-platform"
    assert {c.name: c.checks for c in sale.columns}["store_id"] == (
        "found in `dim_store.store_id`",
    )
    assert ("the net amount is the gross amount less the discount", "block") in sale.rules
    assert "revenue" in {metric.name for metric in sale.metrics}
    limit = sale.fresh_within["shop.public.sale"]
    assert limit is not None
    assert limit.days == 1
    assert "marts.mart_sales_daily" in sale.read_by


def test_every_column_of_a_published_table_has_type_meaning_and_a_page(
    shop: dict[str, Table],
) -> None:
    made = pages(shop)
    assert len(shop) > 30
    for name, told in shop.items():
        page = made[f"dictionary/{name.replace('.', '/')}.md"]
        assert told.owner, name
        for column in told.columns:
            assert column.type, f"{name}.{column.name}"
            assert column.type != "NONE", f"{name}.{column.name}"
            assert column.description, f"{name}.{column.name}"
            assert f"| `{column.name}` | {column.type.lower()} |" in page
