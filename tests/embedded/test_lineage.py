"""Lineage of the whole line, from a mart's column back to the database's; and a dead server."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import openlineage
from tests.embedded.conftest import REPOSITORY, Lakehouse

MONETARY = "marts.mart_client_rfm.monetary"


def events(lakehouse: Lakehouse) -> list[dict[str, Any]]:
    files = sorted((lakehouse.home / "lineage" / "runs").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def ends(lakehouse: Lakehouse) -> dict[str, dict[str, Any]]:
    """The last event of each job."""
    return {event["job"]["name"]: event for event in events(lakehouse)}


def last_run(lakehouse: Lakehouse) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(lakehouse.good("status", "--json"))["last_runs"][0]
    return record


def answer(lakehouse: Lakehouse, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(lakehouse.good("lineage", *arguments, "--json"))
    return found


def leaves(step: dict[str, Any]) -> Iterator[str]:
    if not step["steps"]:
        yield step["name"]
    for below in step["steps"]:
        yield from leaves(below)


def copied(demo: Lakehouse, to: Path) -> Lakehouse:
    shutil.copytree(demo.home, to / "lake")
    shutil.copy(demo.home.parent / ".lake-pii.key", to / ".lake-pii.key")
    return Lakehouse(to / "lake")


def test_a_column_of_a_mart_ends_at_the_column_of_the_source(demo: Lakehouse) -> None:
    (upstream,) = answer(demo, MONETARY, "--upstream")
    assert list(leaves(upstream)) == ["shop.public.sale.net_amount"]
    path = []
    step = upstream
    while step["steps"]:
        (step,) = step["steps"]
        path.append((step["table"], step["job"]["name"]))
    assert path == [
        ("intermediate.int_client_day_sales", "build.marts.mart_client_rfm"),
        ("staging.stg_sale", "build.intermediate.int_client_day_sales"),
        ("staging.base_sale", "build.staging.stg_sale"),
        ("raw.shop_public_sale", "build.staging.base_sale"),
        ("shop.public.sale", "land.shop.public.sale"),
    ]
    shown = demo.good("lineage", MONETARY, "--upstream")
    assert "shop.public.sale.net_amount" in shown
    assert "aggregated by build.marts.mart_client_rfm" in shown
    assert "completed" in shown
    assert last_run(demo)["run_id"] in shown


def test_every_column_of_every_mart_has_an_origin_but_counts_and_constants(
    demo: Lakehouse,
) -> None:
    tables, without = set(), set()
    for name, event in ends(demo).items():
        for output in event["outputs"] if name.startswith("build.marts.") else ():
            fields = output["facets"]["columnLineage"]["fields"]
            assert set(fields) == {one["name"] for one in output["facets"]["schema"]["fields"]}
            tables.add(output["name"])
            without |= {
                f"{output['name']}.{column}"
                for column, told in fields.items()
                if not told["inputFields"]
            }
    assert len(tables) == 18
    assert without == {
        "marts.dim_client._increment_id",
        "marts.dim_date.holiday_name",
        "marts.dim_product._increment_id",
        "marts.fct_order.line_count",
        "marts.mart_cohort_analysis.active_client_count",
        "marts.mart_cohort_analysis.client_count",
        "marts.mart_cohort_analysis.retention",
        "marts.mart_stock_coverage.lead_time_days",
        "marts.mart_stock_coverage.safety_stock_days",
    }


def test_what_is_made_of_a_masked_column_is_told_with_the_masking(demo: Lakehouse) -> None:
    (downstream,) = answer(demo, "shop.public.client.email", "--downstream")
    (raw,) = downstream["steps"]
    assert (raw["name"], raw["masking"]) == ("raw.shop_public_client.email", "keyed hash")
    assert "marts.dim_client.email_hash" in set(leaves(downstream))


def test_a_table_is_traced_both_ways_unless_one_is_asked_for(demo: Lakehouse) -> None:
    upstream, downstream = answer(demo, "marts.fct_sale")
    assert (upstream["direction"], downstream["direction"]) == ("upstream", "downstream")
    assert "shop.public.sale" in set(leaves(upstream))
    assert "marts.mart_sales_daily" in {step["name"] for step in downstream["steps"]}
    assert {job["name"] for job in upstream["made_by"]} == {"build.marts.fct_sale", "publish"}


def test_all_events_of_a_run_are_openlineage_and_hang_on_its_id(demo: Lakehouse) -> None:
    told = events(demo)
    assert len(told) > 100
    assert [error for event in told for error in openlineage.errors(event)] == []
    run_id = last_run(demo)["run_id"]
    roots = [event for event in told if "parent" not in event["run"]["facets"]]
    assert [event["eventType"] for event in roots] == ["START", "COMPLETE"]
    assert {event["run"]["runId"] for event in roots} == {run_id}
    below = [event["run"]["facets"]["parent"] for event in told if event not in roots]
    assert {parent["root"]["run"]["runId"] for parent in below} == {run_id}


def test_every_model_and_every_table_that_landed_is_a_job_with_its_parent(demo: Lakehouse) -> None:
    manifest = json.loads((demo.home / "state" / "dbt" / "manifest.json").read_text())
    models = {
        f"build.{node['schema']}.{node['alias']}"
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model"
    }
    told = ends(demo)
    assert models == {name for name in told if name.startswith("build.") and name != "build.tests"}
    assert {name for name in told if name.startswith("land.")} == {
        f"land.{topic.name}" for topic in (demo.home / "inbox").iterdir()
    }
    runs = {event["run"]["runId"]: event["run"]["facets"].get("parent") for event in told.values()}
    for name, event in told.items():
        assert event["eventType"] == "COMPLETE"
        if name.startswith(("land.", "build.")):
            step = event["run"]["facets"]["parent"]
            assert runs[step["run"]["runId"]]["run"]["runId"] == last_run(demo)["run_id"]


def test_no_two_tables_share_another_name(demo: Lakehouse) -> None:
    """A server would take them for one."""
    meant: dict[tuple[str, str], set[str]] = {}
    for event in events(demo):
        for one in (*event["inputs"], *event["outputs"]):
            for known in one.get("facets", {}).get("symlinks", {}).get("identifiers", []):
                meant.setdefault((known["namespace"], known["name"]), set()).add(one["name"])
    assert len(meant) > 20
    assert [names for names in meant.values() if len(names) > 1] == []


def test_the_events_tell_rows_versions_and_checks(demo: Lakehouse) -> None:
    told = ends(demo)
    (raw,) = told["land.shop.public.sale"]["outputs"]
    (sale,) = demo.sql("select count(*) as n from raw.shop_public_sale")
    assert raw["outputFacets"]["outputStatistics"]["rowCount"] == sale["n"]
    published = {one["name"]: one for one in told["publish"]["outputs"]}
    assert published["marts.fct_sale"]["facets"]["version"]["datasetVersion"] == "0"
    tested = {one["name"]: one["inputFacets"] for one in told["gate.marts"]["inputs"]}
    checks = tested["marts.mart_client_rfm"]["dataQualityAssertions"]["assertions"]
    assert {check["success"] for check in checks} == {True}
    assert "client_id" in {check.get("column") for check in checks}


def test_a_name_that_there_is_not_is_an_error_with_what_is_alike(demo: Lakehouse) -> None:
    refused = demo("lineage", "marts.mart_client_rfm.monetery")
    assert refused.returncode == 2
    assert "no event tells of a column monetery in marts.mart_client_rfm" in refused.stderr
    assert "monetary" in refused.stderr


def test_without_events_the_error_says_what_to_run(tmp_path: Path) -> None:
    refused = Lakehouse(tmp_path / "lake")("lineage", "marts.fct_sale")
    assert refused.returncode == 1
    assert "no lineage is collected yet" in refused.stderr
    assert "lakehouse run" in refused.stderr


def test_a_server_that_never_answers_neither_fails_a_run_nor_holds_it_up(
    demo: Lakehouse, tmp_path: Path
) -> None:
    lake = copied(demo, tmp_path)

    def timed(**variables: str) -> tuple[float, Any]:
        began = time.monotonic()
        done = lake("run", env=variables)
        assert done.returncode == 0, done.stderr
        return time.monotonic() - began, done

    without, _ = timed()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        took, done = timed(LAKEHOUSE_LINEAGE_URL=url, LAKEHOUSE_LINEAGE_TIMEOUT="1")
    # Each of the eight events would have taken a second.
    assert took < without + 5
    (warning,) = [line for line in done.stderr.splitlines() if "lineage is not sent" in line]
    told = json.loads(warning)
    assert "not answer" in told["cause"]
    assert "LAKEHOUSE_LINEAGE_URL" in told["remedy"]
    assert told["run_id"] == last_run(lake)["run_id"]
    assert last_run(lake)["status"] == "completed"
    assert ends(lake)["lakehouse run"]["run"]["runId"] == told["run_id"]


def test_a_landing_alone_has_one_id_in_its_logs_its_ledger_and_its_lineage(
    tmp_path: Path,
) -> None:
    lake, captures = Lakehouse(tmp_path / "lake"), str(tmp_path / "captures")
    lake.good("shop", "capture", "--to", captures, "--clients", "2", "--until", "2017-01-05")
    landed = lake("land", "--from", captures)
    assert landed.returncode == 0, landed.stderr
    logged = [json.loads(line) for line in landed.stderr.splitlines() if line.startswith("{")]
    (run,) = [e for e in events(lake) if e["job"]["name"] == "lakehouse land"][1:]
    ids = {line["run_id"] for line in logged} | {run["run"]["runId"]}
    ids |= {row["run_id"] for row in lake.sql("select distinct run_id from raw._ledger")}
    assert ids == {run["run"]["runId"]}
    (place,) = ends(lake)["land.shop.public.product"]["inputs"][1:]
    assert (place["namespace"], place["name"]) == ("file", f"{captures}/shop.public.product")


def test_a_model_that_fails_is_told_so_and_its_lineage_is_still_known(
    demo: Lakehouse, tmp_path: Path
) -> None:
    lake = copied(demo, tmp_path)
    project = tmp_path / "dbt_project"
    shutil.copytree(
        REPOSITORY / "dbt_project", project, ignore=shutil.ignore_patterns("target", "logs")
    )
    # Where a project of its own finds the plugin that its profile names.
    (tmp_path / "pipelines").symlink_to(REPOSITORY / "pipelines")
    (model,) = project.rglob("mart_client_rfm.sql")
    text = model.read_text()
    model.write_text(text.replace("sum(client_days.net_amount)", "error('no such day')"))
    failed = lake("run", env={"LAKEHOUSE_PROJECT_DIR": str(project)})
    assert failed.returncode == 1
    told = ends(lake)
    for name in ("lakehouse run", "build", "build.marts.mart_client_rfm"):
        assert told[name]["eventType"] == "FAIL"
    model_run = told["build.marts.mart_client_rfm"]["run"]["facets"]
    assert "no such day" in model_run["errorMessage"]["message"]
    assert told["build.marts.fct_sale"]["eventType"] == "COMPLETE"
    (upstream,) = answer(lake, MONETARY, "--upstream")
    assert list(leaves(upstream)) == ["shop.public.sale.net_amount"]
    assert upstream["steps"][0]["job"]["state"] == "failed"


@pytest.mark.parametrize("module", ["sqlglot", "dbt", "pipelines.lineage.transports"])
def test_no_command_loads_what_only_lineage_needs_before_it_does(module: str) -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", f"import sys, pipelines.cli; print({module!r} in sys.modules)"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True, env=os.environ,
    )  # fmt: skip
    assert loaded.stdout.strip() == "False"
