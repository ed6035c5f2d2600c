"""Retention on the whole shop: the current state stays, history begins at the horizon."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from pipelines.contract import load_contracts
from tests.embedded.conftest import REPOSITORY, Lakehouse
from tests.embedded.test_main_line import copied

SALES = "select count(*) as sales, sum(net_amount) as net, max(sold_at) as last from marts.fct_sale"


def staging(lakehouse: Lakehouse, models: list[str]) -> dict[str, Any]:
    """Rows and content of models, without the ids of the runs that wrote them."""
    told = "count(*) as rows, bit_xor(hash(m)) as content"
    own = "columns(name -> name <> '_increment_id')"
    return {
        name: lakehouse.sql(f"select {told} from (select {own} from staging.{name}) as m")
        for name in models
    }


def test_what_is_superseded_goes_and_the_shop_stays_as_it_is(
    demo: Lakehouse, tmp_path: Path, monkeypatch: Any
) -> None:
    lake = copied(demo, tmp_path)
    project = tmp_path / "dbt_project"
    shutil.copytree(
        REPOSITORY / "dbt_project", project, ignore=shutil.ignore_patterns("target", "logs")
    )
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(project))
    (sources,) = project.rglob("_shop__sources.yml")
    sources.write_text(
        sources.read_text().replace("server: shop", "server: shop\n        retention_days: 30")
    )
    tables = load_contracts(project).tables
    assert all(table.retention_days == 30 for table in tables)
    current = [f"stg_{table.name}" for table in tables]
    before, sales = staging(lake, current), lake.sql(SALES)
    (history,) = lake.sql("select count(*) as rows from staging.hist_order")

    reports = json.loads(lake.good("maintain", "--json"))
    retired = {report["table"]: report["retired"] for report in reports}
    assert retired["raw.shop_public_order"] > 0
    assert lake.sql(SALES) == sales, "what is published stays until the next run"

    lake.good("run")
    assert staging(lake, current) == before
    assert lake.sql(SALES) == sales
    (left,) = lake.sql("select count(*) as rows from staging.hist_order")
    assert left["rows"] == history["rows"] - retired["raw.shop_public_order"]
    told = json.loads(lake.good("status", "--json"))
    for row in told["sources"]:
        staged = told["staged"].get(row["topic"])
        if staged:
            assert row["landed"] + row["truncate"] == sum(staged.values()), row["topic"]
    again = json.loads(lake.good("maintain", "--json"))
    assert not any(report["retired"] for report in again)
