"""A client leaves the lake: no file tells of the person any more, and the shop's figures stay."""

from __future__ import annotations

import json
import re
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cdc.masking import load_masker
from pipelines.settings import Settings
from tests.embedded.conftest import Lakehouse
from tests.embedded.test_main_line import copied

# The smallest id of the demo: it stands in statistics, too.
CLIENT = 382


def erase(lakehouse: Lakehouse, *more: str) -> Any:
    return lakehouse("erase", "--client", str(CLIENT), "--yes", "--json", *more)


def values(table: pa.Table) -> set[str]:
    """All texts of a table, and its client ids; of a checkpoint, those in statistics, too."""
    found: set[str] = set()
    for name, column in zip(table.column_names, table.columns, strict=True):
        for value in column.to_pylist():
            if name == "client_id":
                found.add(f"client_id={value}")
            elif isinstance(value, str):
                found.add(value)
            elif isinstance(value, dict):
                told = re.findall(r"""client_id\W+(\d+)""", str(value))
                found.update(f"client_id={number}" for number in told)
    return found


def traces(home: Path, hashes: list[str]) -> set[str]:
    """Folders below home in which something of the client stands, inbox aside."""
    wanted = {f"client_id={CLIENT}", *hashes}
    found = set()
    for file in home.rglob("*"):
        inside = file.relative_to(home)
        if not file.is_file() or inside.parts[0] in ("inbox", "warehouse.duckdb"):
            continue
        if file.suffix == ".parquet":
            told = values(pq.ParquetFile(file).read()) & wanted
        else:
            text = file.read_bytes().decode(errors="replace")
            told = {w for w in hashes if w in text}
            told |= set(re.findall(rf'client_id\\*"\s*:\s*({CLIENT})\b', text))
        if told:
            found.add("/".join(inside.parts[:-1]))
    return found


def facts(lakehouse: Lakehouse) -> list[dict[str, Any]]:
    return lakehouse.sql(
        "select count(*) as sales, sum(net_amount) as net, count(distinct order_id) as orders "
        "from marts.fct_sale"
    )


@pytest.fixture(scope="module")
def lake(demo: Lakehouse, tmp_path_factory: pytest.TempPathFactory) -> Lakehouse:
    return copied(demo, tmp_path_factory.mktemp("erased"))


def test_a_client_leaves_every_file_and_the_figures_stay(lake: Lakehouse) -> None:
    dead = {"topic": "shop.public.order", "partition": 0, "offset": 10**6, "key": None,
            "payload": json.dumps({"op": "x", "after": {"client_id": CLIENT}})}  # fmt: skip
    inbox = lake.home / "inbox"
    (inbox / "shop.public.order" / "later.jsonl").write_text(json.dumps(dead) + "\n")
    lake.good("run")
    before = facts(lake)
    ((spent),) = lake.sql(
        f"select sum(net_amount) as net from marts.fct_sale where client_id = {CLIENT}"
    )
    hashes = list(
        lake.sql(f"select email, phone from raw.shop_public_client where client_id = {CLIENT}")[
            0
        ].values()
    )
    told = traces(lake.home, hashes)
    assert any(folder.startswith("raw/shop.public.client/year") for folder in told)
    assert "raw/shop.public.order/_delta_log" in told
    assert any(folder.startswith("published/marts/dim_client") for folder in told)

    refused = erase(lake)
    report = json.loads(refused.stdout)
    assert refused.returncode == 1, "capture files name the client"
    assert report["remaining"] == {}
    assert {Path(path).parent.name for path in report["captures"]} == {
        "shop.public.client",
        "shop.public.client_interaction",
        "shop.public.order",
        "shop.public.sale",
    }
    assert report["rows"]["shop.public.client"] >= 1
    assert report["letters"] == 1
    assert traces(lake.home, hashes) == set()

    assert facts(lake) == before
    (nobody,) = lake.sql("select sum(net_amount) as net from marts.fct_sale where client_id = -1")
    assert Decimal(nobody["net"]) == Decimal(spent["net"]) > 0
    assert lake.sql(f"from marts.mart_client_rfm where client_id in ({CLIENT}, -1)") == []
    assert lake.sql("select city, email_hash from marts.dim_client where client_id = -1") == [
        {"city": None, "email_hash": None}
    ]
    with duckdb.connect(str(lake.home / "warehouse.duckdb"), read_only=True) as connection:
        for model in ("base_client", "hist_client", "hist_sale", "base_order"):
            found = connection.execute(
                f"select count(*) from staging.{model} where client_id = {CLIENT}"
            ).fetchall()
            assert found == [(0,)], model

    done = erase(lake, "--delete-captures")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["was_listed"]
    assert not list((inbox / "shop.public.client").iterdir())
    assert list((inbox / "shop.public.product").iterdir())


def test_the_search_finds_what_an_erasure_would_miss(lake: Lakehouse) -> None:
    """A file of nobody's version, and a text: both would be told."""
    orphan = lake.home / "raw" / "shop.public.order" / "orphan.parquet"
    pq.write_table(pa.table({"client_id": [1, CLIENT]}), orphan)
    note = lake.home / "state" / "note.json"
    note.write_text(json.dumps({"after": {"client_id": CLIENT}}))
    done = erase(lake)
    assert done.returncode == 1
    assert json.loads(done.stdout)["remaining"] == {
        "raw/shop.public.order/orphan.parquet": "client_id",
        "state/note.json": "text",
    }
    orphan.unlink()
    note.unlink()


def test_delivered_again_under_new_offsets_the_client_stays_out(
    lake: Lakehouse, demo: Lakehouse
) -> None:
    before = facts(lake)
    shutil.rmtree(lake.home / "inbox")
    shutil.copytree(demo.home / "inbox", lake.home / "inbox")
    for file in (lake.home / "inbox").glob("*/*.zst"):
        with pa.input_stream(file, compression="zstd") as stream:
            lines = [json.loads(line) for line in stream.read().splitlines()]
        file.unlink()
        moved = [json.dumps(line | {"offset": line["offset"] + 10**7}) for line in lines]
        file.with_suffix("").write_text("\n".join(moved) + "\n")
    lake.good("run")
    assert facts(lake) == before
    assert lake.sql(f"select 1 from raw.shop_public_sale where client_id = {CLIENT}") == []
    assert lake.sql(f"from marts.mart_client_rfm where client_id = {CLIENT}") == []


def test_without_the_key_nobody_is_erased(lake: Lakehouse) -> None:
    masker = load_masker(Settings(home=lake.home, _env_file=None), create=False)
    done = lake(
        "erase", "--client", "1", "--yes", env={"LAKEHOUSE_PII_KEY": masker.fingerprint * 2}
    )
    assert done.returncode == 1
    assert "the masking key is not the one" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--client", "nine"], "nine is no bigint"),
        (["--client", "1"], "nothing was erased"),
    ],
)
def test_bad_usage_changes_nothing(lake: Lakehouse, arguments: list[str], told: str) -> None:
    yes = [] if "nothing" in told else ["--yes"]
    done = lake("erase", *arguments, *yes)
    assert done.returncode in (1, 2)
    assert told in done.stderr or "Aborted" in done.stderr
