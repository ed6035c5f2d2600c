"""A new epoch of a table, from the refused landing to the rows that the new snapshot lacks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipelines import chain, cli, transform
from pipelines.cdc.land import LandReport, land
from pipelines.contract import load_contracts
from pipelines.errors import LakehouseError, UsageError
from pipelines.lake import lock
from pipelines.lake.ids import new_id
from pipelines.records import recorded
from pipelines.resnapshot import resnapshot, signal_for
from pipelines.settings import Settings
from pipelines.transform import BuildReport
from tests.embedded.dbt_helpers import PROJECT
from tests.unit.events import KEY, NARROW, T0_US, envelope, message

TOPIC = "shop.public.transporter"
STAGING = "models/staging/shop"


class Shop:
    """A project that stages one table of the shop only, and a lake."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "dbt_project"
        (self.project / STAGING).mkdir(parents=True)
        (self.project / "tests").mkdir()
        (self.project / "macros").symlink_to(PROJECT / "macros")
        staged = [f"{STAGING}/{kind}_transporter.sql" for kind in ("base", "hist", "stg")]
        for name in ("dbt_project.yml", "profiles.yml", f"{STAGING}/_shop__sources.yml", *staged):
            shutil.copy(PROJECT / name, self.project / name)
        self.settings = Settings(
            home=folder / "lake", project_dir=self.project, pii_key=KEY, _env_file=None
        )
        self.offset = 0

    @property
    def epoch(self) -> int:
        return load_contracts(self.project).by_topic[TOPIC].epoch

    def change(self, key: int, *, lsn: int, seconds: int, op: str = "c", **told: Any) -> bytes:
        row = {"transporter_id": key, "name": f"at {lsn}", "mode": "van", "lead_time_days": 2}
        position = {"lsn": lsn, "sequence": json.dumps([str(lsn), str(lsn)])}
        told = position | {"ts_us": T0_US + seconds * 1_000_000, "table": "transporter"} | told
        event = envelope(self.offset, row, op=op, **told)
        self.offset += 1
        return message(self.offset, event, key={"transporter_id": key}, topic=TOPIC)

    def land(self, *lines: bytes) -> LandReport:
        path = self.settings.inbox / TOPIC / f"{self.offset:04d}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\n".join(lines) + b"\n")
        contracts = load_contracts(self.project)
        return land(self.settings.inbox, contracts, self.settings, new_id())

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.settings.warehouse), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def run(self, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
        """The command line on this project and lake."""
        monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(self.project))
        command = ["--home", str(self.settings.home), *arguments]
        return CliRunner().invoke(cli.app, command, catch_exceptions=False)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.land(*(shop.change(key, lsn=5000 + key, seconds=key) for key in (1, 2, 3)))
    return shop


def built(shop: Shop) -> BuildReport:
    with recorded(shop.settings, "build") as recorder:
        return chain.build_checked(shop.settings, recorder)


def test_what_the_snapshot_of_the_new_epoch_lacks_is_gone_and_counted(shop: Shop) -> None:
    assert not built(shop).full_refresh
    assert shop.query("select count(*) from staging.stg_transporter") == [(3,)]

    # A restored backup: the log begins anew, and its messages follow the last ones of the old log.
    late = shop.change(2, lsn=5009, seconds=9, op="u")
    with pytest.raises(LakehouseError, match="positions are below"):
        shop.land(late, shop.change(1, lsn=40, seconds=100, op="u"))
    assert resnapshot(shop.settings, "transporter").epoch == shop.epoch == 1
    assert land_again(shop).landed == 2
    # Both logs are in epoch 1 now, so that the snapshot must have one of its own.
    assert resnapshot(shop.settings, TOPIC).epoch == shop.epoch == 2
    snapshot = [
        shop.change(1, lsn=50, seconds=200, op="r", snapshot="first"),
        shop.change(3, lsn=50, seconds=200, op="r", snapshot="last"),
    ]
    assert shop.land(*snapshot, shop.change(3, lsn=60, seconds=210, op="u")).landed == 3

    assert built(shop).full_refresh
    current = "select transporter_id, transporter_name from staging.stg_transporter order by 1"
    assert shop.query(current) == [(1, "at 50"), (3, "at 60")]
    gone = "select transporter_id from staging.base_transporter where _is_deleted and _op <> 'p'"
    assert shop.query(gone) == [(2,)]
    assert shop.query(
        "select string_agg(_op, '' order by _order_key) from staging.hist_transporter"
    ) == [("cccuuprru",)]
    assert sum(transform.arrivals(shop.settings)[TOPIC].values()) == 3 + 2 + 3


def land_again(shop: Shop) -> LandReport:
    return land(shop.settings.inbox, load_contracts(shop.project), shop.settings, new_id())


def test_a_second_epoch_before_anything_of_the_first_has_landed_is_refused(shop: Shop) -> None:
    resnapshot(shop.settings, "transporter")
    with pytest.raises(LakehouseError, match="nothing of epoch 1 of shop"):
        resnapshot(shop.settings, "transporter")
    assert shop.epoch == 1
    assert resnapshot(shop.settings, "transporter", force=True).epoch == shop.epoch == 2


def test_only_the_epoch_of_that_table_changes(shop: Shop) -> None:
    before = load_contracts(shop.project).by_topic
    resnapshot(shop.settings, "raw.shop_public_transporter")
    after = load_contracts(shop.project).by_topic
    assert after.pop(TOPIC) == before.pop(TOPIC).model_copy(update={"epoch": 1})
    assert after == before


def test_a_dry_run_and_a_running_chain_change_nothing(shop: Shop) -> None:
    contract = shop.project / STAGING / "_shop__sources.yml"
    before = contract.read_bytes()
    assert resnapshot(shop.settings, "transporter", dry_run=True).epoch == 1
    with (
        lock.exclusive(shop.settings.state, "lakehouse run"),
        pytest.raises(lock.Busy, match="lakehouse run"),
    ):
        resnapshot(shop.settings, "transporter")
    assert contract.read_bytes() == before


def test_an_unknown_table_is_told_with_those_that_there_are(shop: Shop) -> None:
    with pytest.raises(UsageError, match="no contract describes a table carrier") as caught:
        resnapshot(shop.settings, "carrier")
    assert TOPIC in caught.value.remedy


def test_the_command_prints_signals_that_can_be_copied(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = shop.run(monkeypatch, "resnapshot", "transporter", "--dry-run").stdout
    assert "epoch 0 → 1 in dbt_project/models/staging/shop/_shop__sources.yml" in told
    assert r"--topics 'shop\.public\.transporter'" in told
    (sql,) = [line.strip() for line in told.splitlines() if "insert into" in line]
    assert sql.endswith(
        "'execute-snapshot', "
        """'{"type": "BLOCKING", "data-collections": ["public.transporter"]}');"""
    )
    # Debezium's signalling table has room for 42 characters.
    assert len(sql.partition("values ('")[2].partition("'")[0]) in range(1, 43)
    (value,) = [line.split(None, 1)[1] for line in told.splitlines() if "value " in line]
    assert json.loads(value) == {
        "type": "execute-snapshot",
        "data": {"type": "BLOCKING", "data-collections": ["public.transporter"]},
    }
    assert shop.epoch == 0
    begun = json.loads(shop.run(monkeypatch, "resnapshot", "transporter", "--json").stdout)
    assert (begun["former_epoch"], begun["epoch"], shop.epoch) == (0, 1, 1)
    assert "public.transporter" in begun["signal"]["sql"]
    assert begun["signal"]["kafka_key"] == "shop"


@pytest.mark.parametrize(
    ("connector", "namespace", "collection"),
    [
        ("postgres", "public", "public.thing"),
        ("mariadb", "inventory", "inventory.thing"),
        ("sqlserver", "inventory.dbo", "inventory.dbo.thing"),
        ("sqlserver", "dbo", "<database>.dbo.thing"),
    ],
)
def test_a_signal_names_the_table_as_its_connector_does(
    connector: str, namespace: str, collection: str
) -> None:
    table = NARROW.model_copy(update={"connector": connector, "namespace": namespace})
    assert signal_for(table).data_collection == collection
    assert collection in signal_for(table).sql
