"""Who gets into Trino, and what for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pytest
import requests
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from trino.exceptions import HttpError, TrinoUserError

from pipelines.contract import load_contracts
from pipelines.dashboards.models import models_of
from pipelines.dbt_project import Project
from pipelines.docs_site.bookkeeping import bookkeeping
from pipelines.lake.metastore import connected
from pipelines.settings import Settings
from tests.cookbook import recipes
from tests.embedded.conftest import REPOSITORY
from tests.stack.bare_project import carriers_project
from tests.stack.native.loopback import LOOPBACK
from tests.stack.native.processes import eventually
from tests.stack.native.stack import Stack
from tests.stack.parity import TrinoServer
from tests.stack.prefect_client import Prefect, within

_PUBLISHED = re.compile(r"\b(marts|features|predictions)\.(\w+)")


@pytest.mark.parametrize(("user", "password"), [("dbt", "wrong"), ("nobody", "wrong")])
def test_nobody_gets_in_without_a_password(
    trino_server: TrinoServer, user: str, password: str
) -> None:
    with pytest.raises(HttpError, match="401"):
        trino_server.connection(user, password).cursor().execute("select 1")


def test_without_tls_nobody_gets_in_with_one(stack: Stack, trino_server: TrinoServer) -> None:
    answer = requests.post(
        f"http://{LOOPBACK}:{stack.port('trino', 8080)}/v1/statement",
        data="select 1",
        headers={"X-Trino-User": "admin"},
        auth=("admin", trino_server.passwords["admin"]),
        timeout=10,
    )
    assert answer.status_code in (401, 403)


def test_an_analyst_reads_marts_and_nothing_else(trino_server: TrinoServer) -> None:
    for schema in ("marts", "staging"):
        trino_server.query(f"create schema if not exists {schema}")
        trino_server.query(f"create table {schema}.door as select 1 as n")
    try:
        assert trino_server.query("select n from marts.door", "analyst")[1] == [(1,)]
        for refused in (
            "select n from staging.door",
            "insert into marts.door values 2",
            "drop table marts.door",
            "create table marts.other as select 1 as n",
        ):
            with pytest.raises(TrinoUserError, match="Access Denied"):
                trino_server.query(refused, "analyst")
    finally:
        for schema in ("marts", "staging"):
            trino_server.query(f"drop table {schema}.door")


def test_doctor_looks_at_trino(trino_server: TrinoServer, tmp_path: Path) -> None:
    def wrong(**changed: str) -> dict[str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "--home", str(tmp_path), "doctor", "--json"],
            cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120,
            env=os.environ | trino_server.environment | changed,
        )  # fmt: skip
        return {f["check"]: f["detail"] for f in json.loads(done.stdout) if not f["ok"]}

    assert wrong() == {}
    assert "401" in wrong(LAKEHOUSE_TRINO_PASSWORD="wrong")["trino"]
    assert "no catalog elsewhere" in wrong(LAKEHOUSE_TRINO_CATALOG="elsewhere")["trino: catalog"]
    untrusted = wrong(LAKEHOUSE_TRINO_CERT="", REQUESTS_CA_BUNDLE="", CURL_CA_BUNDLE="")
    assert "certificate" in untrusted["trino"]


def test_the_cookbook_is_understood_as_it_stands(trino_server: TrinoServer, tmp_path: Path) -> None:
    """Its tables are empty here: types and functions are Trino's, the answers were DuckDB's."""
    project = Project(Settings(home=tmp_path / "lake", _env_file=None))
    tables = models_of(project.manifest) | bookkeeping()
    asked = [each for each in recipes() if not each.is_for_duckdb_alone]
    named = {name for each in asked for name in _PUBLISHED.findall(each.query.text)}
    schemas = sorted({schema for schema, _ in named})
    try:
        for schema in schemas:
            trino_server.query(f"create schema if not exists cookbook_{schema}")
        for schema, table in sorted(named):
            columns = tables[f"{schema}.{table}"].columns
            told = ", ".join(
                f"{name} {column.type.replace('TIMESTAMPTZ', 'TIMESTAMP(6)')}"
                for name, column in columns.items()
            )
            trino_server.query(f"create table cookbook_{schema}.{table} ({told})")
        for each in asked:
            query = _PUBLISHED.sub(r"cookbook_\1.\2", each.query.text)
            assert trino_server.query(query) == (each.columns, []), each.title
    finally:
        for schema in schemas:
            trino_server.query(f"drop schema if exists cookbook_{schema} cascade")


def forget_tables(trino_server: TrinoServer) -> None:
    """A metastore serves one lake, and the tests have several."""
    schemas = trino_server.query("show schemas")[1]
    for schema in ("raw", "quality"):
        if (schema,) in schemas:
            for (table,) in trino_server.query(f"show tables from {schema}")[1]:
                trino_server.query(f"call system.unregister_table('{schema}', '{table}')")


def forget_models(trino_server: TrinoServer) -> None:
    of_readers = ("marts", "features", "predictions")
    built = ("state", "staging", "intermediate", *(f"{schema}_audit" for schema in of_readers))
    for schema in (*built, *of_readers):
        trino_server.query(f"drop schema if exists {schema} cascade")


def test_a_landing_registers_its_tables_and_their_last_batches(
    stack: Stack, trino_server: TrinoServer, tmp_path: Path
) -> None:
    forget_tables(trino_server)
    url = f"thrift://{LOOPBACK}:{stack.port('metastore', 9083)}"
    variables = stack.s3().lake("registered") | {"LAKEHOUSE_METASTORE": url}

    def lakehouse(*arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "--home", str(tmp_path / "lake"), *arguments],
            cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=300,
            env=os.environ | variables | changed,
        )  # fmt: skip

    for until in ("2017-01-05", "2017-01-10"):
        events = tmp_path / until
        lakehouse("shop", "capture", "--to", str(events), "--clients", "3", "--until", until)
        lakehouse("land", "--from", str(events))
        ((batch, rows),) = trino_server.query(
            "select max_by(_batch_id, _landed_at), count(*) from raw.shop_public_order"
        )[1]
        assert rows > 0
        with connected(url) as (client, _):
            told = client.get_table("raw", "shop_public_order").parameters
        assert told["lakehouse.batch_id"] == batch
        assert told["lakehouse.schema_version"]
        assert UUID(told["lakehouse.run_id"])
    tables = {name for (name,) in trino_server.query("show tables from raw")[1]}
    assert "_ledger" in tables
    assert len(tables) == 1 + len(load_contracts(REPOSITORY / "dbt_project").tables)
    assert f"{len(tables)} raw tables" in lakehouse("doctor").stdout
    elsewhere = lakehouse("land", "--from", str(events), LAKEHOUSE_STORE="s3://lake/elsewhere")
    assert "lies in s3://lake/registered" in elsewhere.stderr


def test_run_builds_on_the_server_that_the_target_names(
    trino_server: TrinoServer, tmp_path: Path
) -> None:
    forget_tables(trino_server)
    project = carriers_project(tmp_path)
    # Other tests build models of these names.
    variables = trino_server.store | trino_server.environment | {
        "LAKEHOUSE_STORE": "s3://lake/target", "LAKEHOUSE_TARGET": "trino",
        "LAKEHOUSE_PROJECT_DIR": str(project), "LAKEHOUSE_SCHEMA_PREFIX": "target_",
    }  # fmt: skip
    del variables["LAKEHOUSE_TRINO_RAW"]

    def lakehouse(*arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "--home", str(tmp_path / "lake"), *arguments],
            cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300,
            env=os.environ | variables | changed,
        )  # fmt: skip

    def carriers(column: str, table: str) -> list[tuple[object, ...]]:
        return sorted(
            trino_server.query(f"select distinct transporter_id, {column} from {table}")[1]
        )

    events = tmp_path / "events"
    lakehouse("shop", "capture", "--to", str(events), "--clients", "3", "--until", "2017-01-05")
    done = lakehouse("run", "--from", str(events))
    assert done.returncode == 0, done.stderr
    assert "2 models" in done.stderr
    assert "on trino" in done.stderr
    built = carriers("transporter_name", "target_staging.stg_transporter")
    assert built == carriers("name", "raw.shop_public_transporter") != []
    assert "nothing new on trino" in lakehouse("run", "--from", str(events)).stderr

    (project / "tests" / "no_carriers.sql").write_text("select * from {{ ref('stg_transporter') }}")
    refused = lakehouse("run", "--from", str(events))
    assert refused.returncode == 1
    assert "no_carriers" in refused.stderr
    assert "the published marts stay as they were" in refused.stderr
    down = lakehouse("run", "--from", str(events), LAKEHOUSE_TRINO_PORT="1")
    assert down.returncode == 1
    assert "Connection refused" in down.stderr


def test_readers_see_what_passed_the_gates_and_nothing_else(
    trino_server: TrinoServer, tmp_path: Path
) -> None:
    """A mart that fails is built beside, and what readers see moves when it holds again."""
    forget_tables(trino_server)
    project = carriers_project(tmp_path)
    for name, sql in {
        "intermediate/int_business_date": "select date '2017-01-05' as business_date",
        "marts/mart_carriers": "select transporter_id, lead_time_days "
        "from {{ ref('stg_transporter') }}",
        "marts/mart_days": "select max(lead_time_days) as days from {{ ref('mart_carriers') }}",
    }.items():
        file = project / "models" / f"{name}.sql"
        file.parent.mkdir(exist_ok=True)
        file.write_text(sql)
    (project / "models" / "marts" / "carriers.yml").write_text(
        "models:\n- name: mart_carriers\n  columns:\n  - name: transporter_id\n"
        "    data_tests: [unique]\n"
    )
    rules = tmp_path / "expectations" / "marts" / "mart_carriers.yml"
    rules.parent.mkdir(parents=True)
    rule = (
        "table: marts.mart_carriers\nrules:\n- {{name: soon, no_row_where: lead_time_days > {0}}}\n"
        "- {{name: in time, type: expect_column_values_to_be_between,"
        " kwargs: {{column: lead_time_days, max_value: {0}}}}}\n"
    )
    rules.write_text(rule.format(99))
    variables = trino_server.store | trino_server.environment | {
        "LAKEHOUSE_STORE": "s3://lake/gated", "LAKEHOUSE_TARGET": "trino",
        "LAKEHOUSE_PROJECT_DIR": str(project), "LAKEHOUSE_SCHEMA_PREFIX": "gated_",
    }  # fmt: skip
    del variables["LAKEHOUSE_TRINO_RAW"]

    def lakehouse(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "--home", str(tmp_path / "lake"), *arguments],
            cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300,
            env=os.environ | variables,
        )  # fmt: skip

    def shown(query: str) -> list[tuple[object, ...]]:
        return sorted(trino_server.query(query)[1])

    capture = ("shop", "capture", "--to", str(tmp_path / "lake" / "inbox"), "--clients", "3")
    lakehouse(*capture, "--until", "2017-01-05")
    first = lakehouse("run")
    assert first.returncode == 0, first.stderr
    carriers = shown("select * from gated_marts.mart_carriers")
    assert carriers == shown("select * from gated_marts_audit.mart_carriers") != []
    record = "select table_name, version, run_id, business_date from gated_marts._publication"
    before = shown(record)
    assert [name for name, *_ in before] == ["gated_marts.mart_carriers", "gated_marts.mart_days"]
    assert {dated for *_, dated in before} == {"2017-01-05"}

    # The mart changes, and breaks a rule that has become stricter.
    mart = project / "models" / "marts" / "mart_carriers.sql"
    good = mart.read_text()
    mart.write_text(
        good.replace("lead_time_days from", "lead_time_days + 40 as lead_time_days from")
    )
    rules.write_text(rule.format(30))
    blocked = lakehouse("run")
    assert blocked.returncode == 1
    assert "the gate on marts blocks, the published marts stay as they were" in blocked.stderr
    assert "marts.mart_carriers: soon" in blocked.stderr
    assert shown("select * from gated_marts_audit.mart_carriers") != carriers
    assert shown("select * from gated_marts.mart_carriers") == carriers
    assert shown(record) == before
    for reason in ("soon", "in time"):
        held = shown(
            f"select key from quality.quarantine where target = 'trino' and reason = '{reason}'"
        )
        assert {json.loads(key)["transporter_id"] for (key,) in held} == {n for n, _ in carriers}

    mart.write_text(
        good.replace("lead_time_days from", "lead_time_days + 1 as lead_time_days from")
    )
    mended = lakehouse("run")
    assert mended.returncode == 0, mended.stderr
    assert shown("select * from gated_marts.mart_carriers") == [(n, d + 1) for n, d in carriers]
    after = {name: (version, run) for name, version, run, _ in shown(record)}
    assert all(after[name] > (version, run) for name, version, run, _ in before)
    assert shown("select 1 from quality.quarantine where reason in ('soon', 'in time')") == []
    again = lakehouse("run")
    assert "nothing new on trino" in again.stderr
    assert {name: (version, run) for name, version, run, _ in shown(record)} == after

    # Somebody finds that the first one was right.
    versions = [row["version"] for row in json.loads(lakehouse("publish", "--json").stdout)]
    assert len(versions) == 2
    assert lakehouse("publish", "--rollback", str(versions[-1])).returncode == 0
    assert shown("select * from gated_marts.mart_carriers") == carriers
    mart.write_text(good)
    assert "held" in lakehouse("run").stderr
    assert shown("select * from gated_marts.mart_carriers") == carriers
    assert shown(record) == before
    lakehouse("publish", "--latest")
    assert lakehouse("run").returncode == 0
    assert shown("select * from gated_marts.mart_carriers") == carriers
    assert [run for *_, run, _ in shown(record)] != [run for *_, run, _ in before]


def toy_shop(folder: Path) -> Path:
    """A project whose marts are told in SQL: 30 clients who buy some of 20 products each week."""
    project = carriers_project(folder)
    rows = {
        "intermediate/int_business_date": "select date '2017-12-31' as business_date",
        "marts/dim_client": "select cast(n as bigint) as client_id, '25-34' as age_band, "
        "cast(null as varchar) as income_band, true as is_current, false as is_deleted "
        "from unnest(sequence(1, 30)) as t (n)",
        "marts/dim_product": "select cast(n as bigint) as product_id, 'GROCERY' as department, "
        "'NATIONAL' as brand, 'CHEESE' as category, "
        "'CHEESE ' || cast(n as varchar) as product_type, true as is_current, "
        "false as is_deleted, true as is_active "
        "from unnest(sequence(1, 20)) as t (n)",
        "marts/fct_sale": "select cast(c * 1000 + w * 10 + k as bigint) as order_id, "
        "cast(c as bigint) as client_id, cast(1 + (c * 7 + k * (1 + w % 3)) % 20 as bigint) "
        "as product_id, cast(1 as bigint) as quantity, "
        "date_add('day', -7 * w, date '2017-12-30') as sale_date, "
        "cast(date_add('day', -7 * w, date '2017-12-30') as timestamp(6)) "
        "as sold_at "
        "from unnest(sequence(1, 30)) as t (c) cross join unnest(sequence(0, 39)) as u (w) "
        "cross join unnest(sequence(1, 4)) as v (k)",
        "marts/mart_stock_coverage": "select product_id, product_id = 20 as is_stock_out "
        "from {{ ref('dim_product') }}",
    }
    for name, sql in rows.items():
        file = project / "models" / f"{name}.sql"
        file.parent.mkdir(exist_ok=True)
        file.write_text(sql)
    place = project / "models" / "predictions"
    place.mkdir()
    own = REPOSITORY / "dbt_project" / "models" / "predictions"
    for model in ("mart_reco_client_top_n", "model_predictions", "ai_audit_log"):
        for file in own.glob(f"{model}.*"):
            shutil.copy(file, place)
    shutil.copy(own / "_inference__sources.yml", place)
    return project


def test_models_learn_from_what_readers_see_and_predict_for_them(
    trino_server: TrinoServer, tmp_path: Path
) -> None:
    """Tables that Trino wrote, at the versions of its views; predictions that Trino publishes."""
    forget_tables(trino_server)
    project = toy_shop(tmp_path)
    variables = trino_server.store | trino_server.environment | {
        "LAKEHOUSE_STORE": "s3://lake/learning", "LAKEHOUSE_TARGET": "trino",
        "LAKEHOUSE_PROJECT_DIR": str(project), "LAKEHOUSE_SCHEMA_PREFIX": "learning_",
    }  # fmt: skip
    del variables["LAKEHOUSE_TRINO_RAW"]

    def lakehouse(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "--home", str(tmp_path / "lake"), *arguments],
            cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300,
            env=os.environ | variables,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def shown(query: str) -> list[tuple[object, ...]]:
        return trino_server.query(query)[1]

    capture = ("shop", "capture", "--to", str(tmp_path / "lake" / "inbox"), "--clients", "1")
    lakehouse(*capture, "--until", "2017-01-02")
    lakehouse("run")
    assert shown("select count(*) from learning_predictions.mart_reco_client_top_n") == [(0,)]

    trained = json.loads(lakehouse("train", "recommend", "--origins", "1", "--json"))
    assert trained["model"] == "recommend/1"
    told = lakehouse("models", "card", "recommend", "1")
    versions = dict(shown("select table_name, version from learning_marts._publication"))
    for table in ("fct_sale", "dim_product", "dim_client", "mart_stock_coverage"):
        assert f"marts.{table} | {versions[f'learning_marts.{table}']} |" in told

    (scored,) = json.loads(lakehouse("score", "recommend", "--json"))
    rows = shown(
        "select count(*), count(distinct client_id), count_if(product_id = 20), min(rank) "
        "from learning_predictions.mart_reco_client_top_n"
    )
    # Of product 20 there is none to sell.
    assert rows == [(scored["rows"], 30, 0, 1)]
    ((run, inputs),) = shown("select run_id, inputs from learning_predictions.model_predictions")
    assert {each["table"]: each["version"] for each in json.loads(str(inputs))} == {
        name.removeprefix("learning_"): version
        for name, version in versions.items()
        if name.startswith("learning_marts.")
    }
    acts = shown("select action, run_id from learning_predictions.ai_audit_log order by acted_at")
    assert [act for act, _ in acts][0::2] == ["train", "score"]
    assert acts[-1] == ("score", run)
    # A build that changes nothing of what was read is no reason to predict again; another is.
    (again,) = json.loads(lakehouse("score", "recommend", "--json"))
    assert not again["is_news"]
    stock = project / "models" / "marts" / "mart_stock_coverage.sql"
    stock.write_text(stock.read_text().replace("= 20", "= 19"))
    lakehouse("run")
    (changed,) = json.loads(lakehouse("score", "recommend", "--json"))
    assert changed["is_news"]
    offered = "select count_if(product_id = 20) > 0, count_if(product_id = 19) from "
    assert shown(f"{offered} learning_predictions.mart_reco_client_top_n") == [(True, 0)]


def test_the_lander_follows_topics_that_come_later_and_dbt_builds_from_them(
    stack: Stack, redis: Stack, trino_server: TrinoServer, tmp_path: Path
) -> None:
    topic = "shop.public.transporter"
    subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "shop", "capture", "--to", str(tmp_path),
         "--clients", "3", "--until", "2017-01-05"], cwd=REPOSITORY, check=True,
    )  # fmt: skip
    (file,) = (tmp_path / topic).iterdir()
    forget_tables(trino_server)
    # What another test has built is of another lake.
    forget_models(trino_server)
    stack.up(["lander"])
    try:
        # The topic may come when others are followed already.
        client = {"bootstrap.servers": f"{LOOPBACK}:{stack.port('kafka', 19092)}"}
        admin, producer = AdminClient(client), Producer(client)
        if topic not in admin.list_topics(timeout=10).topics:
            admin.create_topics([NewTopic(topic, 3, 1)])[topic].result()
        for line in pa.input_stream(str(file)).read().splitlines():
            message = json.loads(line)
            producer.produce(topic, message["payload"], message["key"])
        assert producer.flush(30) == 0
        count = "select count(*) from raw.shop_public_transporter"
        assert eventually(lambda: trino_server.query(count)[1] != [(0,)], 90)
        # Rows are committed before they are counted.
        metrics = f"http://{LOOPBACK}:{stack.port('lander', 9108)}/metrics"
        landed = f'{{topic="{topic}",disposition="landed"}}'
        assert eventually(lambda: landed in requests.get(metrics, timeout=10).text, 30)
        redis.up(["prefect", "worker"])
        prefect = Prefect.of(stack, tmp_path)
        # Of a few carriers nothing can be predicted.
        prefect.switch_links(on=False)
        run = prefect.start("daily")
        within(600, lambda: prefect.state(run) in ("Completed", "Failed", "Crashed"), list)
        assert prefect.state(run) == "Completed", stack.log("worker").read_text()
        assert list(prefect.tasks(run))[-3:] == ["build", "gate-marts", "publish"]
        # What is of models waits for the worker that has the memory.
        stack.up(["mlflow", "trainer"])
        watched = prefect.start("drift")
        within(180, lambda: bool(prefect.run(watched)["end_time"]), list)
        # There is no champion.
        assert prefect.state(watched) == "Unchanged", stack.log("trainer").read_text()
        told = f"'{prefect.run(watched)['name']}'"
        assert told in stack.log("trainer").read_text()
        assert told not in stack.log("worker").read_text()
        stack.stop("trainer")
        # The same lake, in which nothing is new.
        stack.start("dbt-build")
        assert "nothing new on trino" in stack.log("dbt-build").read_text()
        # A worker whose settings name Kafka lands from it, into a lake of its own here.
        stack.stop("worker")
        prefect.told = {
            "LAKEHOUSE_HOME": str(tmp_path / "lake"),
            "LAKEHOUSE_KAFKA": client["bootstrap.servers"],
        }
        with prefect.worker("of-kafka"):
            run = prefect.start("ingest")
            within(180, lambda: prefect.state(run) in ("Completed", "Failed", "Crashed"), list)
        assert prefect.state(run) == "Completed"
        shown = {
            row["topic"]: row["landed"] for row in json.loads(prefect.artifacts(run)["landed"])
        }
        assert shown[topic] > 0
        # The topic may have changes of the shop's database, too; a key that is gone stays, dead.
        keys = "select distinct transporter_id from {} where transporter_id is not null order by 1"
        built = trino_server.query(keys.format("staging.base_transporter"))[1]
        assert built
        assert built == trino_server.query(keys.format("raw.shop_public_transporter"))[1]
        alive = set(trino_server.query(keys.format("marts.dim_transporter"), "analyst")[1])
        assert set() != alive <= set(built)
        told = trino_server.query("select count(*) from quality.results", "analyst")[1]
        assert told[0][0] > 100
    finally:
        for service in ("trainer", "mlflow", "worker", "prefect", "lander"):
            if service in stack.told():
                stack.stop(service)
