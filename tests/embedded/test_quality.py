"""The gates: what is bad does not get published, is kept row by row, and once mended goes on."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.lake.publish import read_manifest
from tests.embedded.conftest import CLIENTS, REPOSITORY, Lakehouse

MESSAGE_LSN = 99_000_000_000


def copied(demo: Lakehouse, to: Path) -> Lakehouse:
    shutil.copytree(demo.home, to / "lake")
    shutil.copy(demo.home.parent / ".lake-pii.key", to / ".lake-pii.key")
    return Lakehouse(to / "lake")


def project_with_rules(to: Path, text: str) -> dict[str, str]:
    """A project of its own whose rules of stg_sale are these."""
    shutil.copytree(REPOSITORY / "dbt_project", to / "dbt_project",
                    ignore=shutil.ignore_patterns("target", "logs"))  # fmt: skip
    folder = to / "expectations" / "staging"
    folder.mkdir(parents=True)
    (folder / "stg_sale.yml").write_text(text)
    return {"LAKEHOUSE_PROJECT_DIR": str(to / "dbt_project")}


def test_spoiled_sales_block_the_publication_and_lie_in_quarantine(tmp_path: Path) -> None:
    lakehouse = Lakehouse(tmp_path / "lake")
    inbox = lakehouse.home / "inbox"
    capture = ("shop", "capture", "--to", str(inbox), "--clients", str(CLIENTS))
    lakehouse.good(*capture, "--until", "2017-07-01")
    lakehouse.good("run")
    before = (lakehouse.home / "published" / "manifest.json").read_text()

    lakehouse.good(*capture, "--from", "2017-07-01", "--defects", "0.01")
    blocked = lakehouse("run")
    assert blocked.returncode == 1
    assert "the gate on staging blocks, the published marts stay as they were" in blocked.stderr
    assert "expectations/staging/stg_sale.yml" in blocked.stderr
    assert (lakehouse.home / "published" / "manifest.json").read_text() == before
    with next(inbox.glob("defects-*.csv")).open() as file:
        spoiled = {int(row["key"]) for row in csv.DictReader(file)}
    assert len(spoiled) > 10
    held = lakehouse.sql("select key, row, gate from quality.quarantine where severity = 'block'")
    assert {row["gate"] for row in held} == {"staging"}
    assert {json.loads(row["key"])["sale_id"] for row in held} == spoiled
    status = json.loads(lakehouse.good("status", "--json"))
    assert status["last_runs"][0]["status"] == "blocked"

    # The source corrects them; nobody does anything else.
    corrections = [corrected(json.loads(row["row"])) for row in held]
    correct(lakehouse, corrections)
    done = lakehouse("run")
    assert done.returncode == 0, done.stderr
    assert (lakehouse.home / "published" / "manifest.json").read_text() != before
    assert lakehouse.sql("select 1 from quality.quarantine where severity = 'block'") == []
    listed = ", ".join(map(str, spoiled))
    (row,) = lakehouse.sql(f"select count(*) as n from marts.fct_sale where sale_id in ({listed})")
    assert row["n"] == len(spoiled)


def corrected(row: dict[str, Any]) -> dict[str, Any]:
    gross = abs(float(row["gross_amount"]))
    return {
        **{k: row[k] for k in ("sale_id", "order_id", "line_no", "product_id", "client_id")},
        "quantity": abs(row["quantity"]),
        "gross_amount": f"{gross:.2f}", "discount_amount": "0.00", "net_amount": f"{gross:.2f}",
        "sold_at": "2017-12-01T12:00:00Z",
    }  # fmt: skip


def correct(lakehouse: Lakehouse, rows: list[dict[str, Any]]) -> None:
    topic = lakehouse.home / "inbox" / "shop.public.sale"
    source = {
        "version": "3.7.0.Final", "connector": "postgresql", "name": "shop", "db": "shop",
        "snapshot": "false", "sequence": f'["{MESSAGE_LSN}","{MESSAGE_LSN}"]', "schema": "public",
        "table": "sale", "txId": 9, "lsn": MESSAGE_LSN, "ts_ms": 1_514_900_000_000,
        "ts_us": 1_514_900_000_000_000, "ts_ns": 1_514_900_000_000_000_000,
    }  # fmt: skip
    lines = [
        {
            "topic": "shop.public.sale", "partition": 0, "offset": 8_000_000 + n,
            "tstype": "create", "ts": 1_514_900_000_000, "headers": None,
            "key": json.dumps({"sale_id": row["sale_id"]}),
            "payload": json.dumps({"before": None, "after": row, "source": source, "op": "u"}),
        }
        for n, row in enumerate(rows)
    ]  # fmt: skip
    (topic / "9999.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_each_staged_and_published_table_has_rules_and_each_is_kept(demo: Lakehouse) -> None:
    manifest = read_manifest(demo.home / "published")
    assert manifest is not None
    results = demo.sql("select * from quality.results")
    tables = {row["table_name"] for row in results}
    assert set(manifest.tables) - {"marts._publication"} <= tables
    staged = {path.stem for path in (REPOSITORY / "expectations" / "staging").glob("*.yml")}
    assert {f"staging.{name}" for name in staged} <= tables
    assert len(staged) == 9
    assert all(row["is_met"] for row in results if row["severity"] == "block")
    assert {row["run_id"] for row in results} == {manifest.run_id}
    assert (demo.home / "data-docs" / "index.html").exists()


def test_every_mart_and_staged_table_has_a_file_of_business_rules() -> None:
    written = {
        f"{path.parent.name}.{path.stem}"
        for path in (REPOSITORY / "expectations").glob("*/*.yml")
    }  # fmt: skip
    models = {
        f"{path.relative_to(REPOSITORY / 'dbt_project' / 'models').parts[0]}.{path.stem}"
        for folder in ("staging", "marts", "features", "predictions")
        for path in (REPOSITORY / "dbt_project" / "models" / folder).rglob("*.sql")
        if not path.stem.startswith(("base_", "hist_"))
    }
    assert written == models


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (
            "{name: a, type: expect_column_max_to_be_between, kwargs: {column: net, min_value: 0}}",
            "names the column net, which staging.stg_sale has not",
        ),
        ("{name: a, type: expect_nonsense}", "nobody knows the expectation expect_nonsense"),
        ("{name: a, no_row_where: nett < 0}", "cannot be checked"),
        (
            "{name: a, type: expect_column_values_to_be_between, kwargs: {colum: net_amount}}",
            "rule 'a' of staging.stg_sale",
        ),
    ],
)
def test_a_rule_that_cannot_be_checked_publishes_nothing_and_is_told(
    demo: Lakehouse, tmp_path: Path, rule: str, says: str
) -> None:
    lakehouse = copied(demo, tmp_path)
    before = (lakehouse.home / "published" / "manifest.json").read_text()
    variables = project_with_rules(tmp_path, f"table: staging.stg_sale\nrules:\n  - {rule}\n")
    refused = lakehouse("run", env=variables)
    assert refused.returncode == 1
    assert says in refused.stderr
    assert "expectations/staging/stg_sale.yml" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert (lakehouse.home / "published" / "manifest.json").read_text() == before


def test_a_changed_rule_is_checked_though_nothing_is_new(demo: Lakehouse, tmp_path: Path) -> None:
    lakehouse = copied(demo, tmp_path)
    text = "table: staging.stg_sale\nrules:\n  - {name: cheap, no_row_where: net_amount > 20%s}\n"
    variables = project_with_rules(tmp_path, text % ", severity: warn")
    warned = lakehouse("run", env=variables)
    assert warned.returncode == 0, warned.stderr
    assert "staging.stg_sale: cheap:" in warned.stderr
    dear = lakehouse.sql("select key from quality.quarantine where reason = 'cheap'")
    (count,) = lakehouse.sql("select count(*) as n from marts.fct_sale where net_amount > 20")
    assert len(dear) == count["n"] > 0
    assert "nothing new" in lakehouse("run", env=variables).stderr
    rules = tmp_path / "expectations" / "staging" / "stg_sale.yml"
    rules.write_text(text % "")
    assert lakehouse("run", env=variables).returncode == 1
    assert lakehouse("run", env=variables).returncode == 1, "what was blocked is not forgotten"


def test_readers_are_held_at_a_former_publication_until_they_are_released(
    demo: Lakehouse, tmp_path: Path
) -> None:
    lakehouse = copied(demo, tmp_path)
    lakehouse.good("backfill", "--from", "2017-06-01", "--until", "2017-06-08")
    listed = json.loads(lakehouse.good("publish", "--json"))
    assert [(row["version"], row["is_shown"]) for row in listed] == [(1, True), (0, False)]
    assert "publication 0" in lakehouse.good("publish", "--rollback", "0")
    lakehouse.good("backfill", "--from", "2017-06-01", "--until", "2017-06-08")
    held = lakehouse("run")
    assert held.returncode == 0, held.stderr
    assert "readers are held at a former publication" in held.stderr
    refused = lakehouse("erase", "--client", "1832", "--yes")
    assert "held at publication 0" in refused.stderr
    manifest = read_manifest(lakehouse.home / "published")
    assert manifest is not None
    assert (manifest.version, manifest.is_held) == (0, True)

    lakehouse.good("publish", "--latest")
    lakehouse.good("run")
    manifest = read_manifest(lakehouse.home / "published")
    assert manifest is not None
    assert (manifest.version, manifest.is_held) == (2, False)
    unknown = lakehouse("publish", "--rollback", "9")
    assert unknown.returncode == 1
    assert "there is no publication 9" in unknown.stderr
