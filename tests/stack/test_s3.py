"""A lake on the S3 store is the lake on disk: same tables, whatever store and network do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pytest
from botocore.exceptions import ClientError

from pipelines.lake.catalog import create_published_views
from pipelines.lake.duck import connect
from pipelines.lake.publish import read_manifest
from pipelines.settings import Settings, load_settings
from tests.embedded.conftest import REPOSITORY
from tests.stack.native.components import install_minio
from tests.stack.native.faults import REFUSED, RESET, STALLED, FaultyProxy
from tests.stack.native.loopback import LOOPBACK
from tests.stack.native.s3 import S3Server, minio
from tests.stack.native.stack import Stack

KEY = {"LAKEHOUSE_PII_KEY": "one key for all lakes that are compared"}


def lakehouse(
    home: Path, variables: Mapping[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "--home", str(home), *arguments],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=600,
        env=os.environ | KEY | variables,
    )  # fmt: skip


def done(outcome: subprocess.CompletedProcess[str]) -> str:
    assert outcome.returncode == 0, outcome.stderr[-4000:]
    return outcome.stdout


@pytest.fixture(scope="module", params=["versitygw", "minio"])
def server(request: pytest.FixtureRequest, stack: Stack, tmp_path_factory: Any) -> Iterator[Any]:
    """The store of the compose file, and one that shares nothing with it but the protocol."""
    if request.param == "versitygw":
        yield stack.s3()
        return
    with minio(install_minio(), tmp_path_factory.mktemp("minio")) as second:
        yield second


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captures")
    done(lakehouse(folder / "lake", {}, "shop", "capture", "--to", str(folder / "events"),
                   "--clients", "3", "--until", "2017-01-20"))  # fmt: skip
    return folder / "events"


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Mapping[str, str]], Settings]:
    """The settings of a lake, with this process' variables as it needs them."""

    def settings(home: Path, variables: Mapping[str, str]) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        if not variables:
            monkeypatch.delenv("LAKEHOUSE_STORE", raising=False)
        return load_settings(home)

    return settings


@pytest.fixture(scope="module")
def local(captures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("local") / "lake"
    done(lakehouse(home, {}, "run", "--from", str(captures)))
    return home


def marts(settings: Settings) -> dict[str, list[Any]]:
    manifest = read_manifest(settings.published)
    assert manifest
    with connect(settings) as connection:
        create_published_views(connection, settings.published)
        return {
            name: connection.execute(f"from {name} order by all").fetchall()
            for name in manifest.tables
            if not name.endswith("._publication")
        }


def raw_rows(settings: Settings, connection: duckdb.DuckDBPyConnection) -> dict[str, list[Any]]:
    topics = [path.name for path in settings.raw.iterdir() if path.name.startswith("shop.")]
    return {
        topic: connection.execute(
            f"select * exclude (_batch_id, _landed_at) from delta_scan('{settings.raw / topic}') "
            "order by _partition, _offset"
        ).fetchall()
        for topic in topics
    }


def test_the_whole_line_gives_the_same_marts(
    server: S3Server, captures: Path, local: Path, tmp_path: Path, at: Any
) -> None:
    home, variables = tmp_path / "lake", server.lake("line")
    done(lakehouse(home, variables, "run", "--from", str(captures)))
    on_disk = marts(at(local, {}))
    on_store = marts(at(home, variables))
    assert on_store == on_disk
    assert on_disk["marts.fct_sale"]
    assert not (home / "raw").exists()
    # Maintenance reads and deletes files of the store.
    assert "raw.shop_public_sale" in done(lakehouse(home, variables, "maintain"))
    again = done(lakehouse(home, variables, "run", "--from", str(captures)))
    assert marts(at(home, variables)) == on_disk, again


def test_two_landers_at_once_land_each_message_once(
    server: S3Server, captures: Path, local: Path, tmp_path: Path, at: Any
) -> None:
    variables = server.lake("two")
    homes = [tmp_path / name for name in ("one", "other")]
    with ThreadPoolExecutor() as both:
        outcomes = list(
            both.map(
                lambda home: lakehouse(home, variables, "land", "--from", str(captures)), homes
            )
        )
    for outcome in outcomes:
        done(outcome)
    same_as_local(at, homes[0], variables, local)


def same_as_local(at: Any, home: Path, variables: Mapping[str, str], local: Path) -> None:
    settings = at(local, {})
    with connect(settings) as connection:
        expected = raw_rows(settings, connection)
    settings = at(home, variables)
    with connect(settings) as connection:
        found = raw_rows(settings, connection)
    assert found == expected
    assert sum(map(len, expected.values())) > 1_000


def test_a_store_that_refuses_stalls_and_hangs_up_costs_no_message(
    server: S3Server, captures: Path, local: Path, tmp_path: Path, at: Any
) -> None:
    with FaultyProxy(server.port, {REFUSED: 0.1, STALLED: 0.01, RESET: 0.05}) as proxy:
        variables = server.lake("faulty", proxy.port)
        done(lakehouse(tmp_path / "lake", variables, "land", "--from", str(captures)))
        assert proxy.told[REFUSED] > 20, proxy.told
        assert proxy.told[STALLED] > 0, proxy.told
        assert proxy.told[RESET] > 0, proxy.told
    same_as_local(at, tmp_path / "lake", server.lake("faulty"), local)


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "refuses these keys"),
        ({"AWS_ENDPOINT_URL": f"http://{LOOPBACK}:1"}, "is not reached"),
        ({"LAKEHOUSE_STORE": "s3://nowhere"}, "there is no bucket"),
        ({"AWS_ACCESS_KEY_ID": ""}, "AWS_ACCESS_KEY_ID not set"),
    ],
)
def test_a_store_that_cannot_be_used_is_told(
    server: S3Server, captures: Path, tmp_path: Path, wrong: dict[str, str], cause: str
) -> None:
    variables = server.lake("wrong") | wrong
    outcome = lakehouse(tmp_path / "lake", variables, "land", "--from", str(captures))
    assert outcome.returncode == 1
    assert cause in outcome.stderr
    assert "remedy:" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    found = lakehouse(tmp_path / "lake", variables, "doctor")
    assert found.returncode == 1
    assert cause in " ".join(found.stdout.split())


def test_an_object_is_made_by_one_of_many_who_want_to(server: S3Server) -> None:
    """What Delta's commits stand on: a conditional PUT."""
    client = server.client()

    def status(number: int) -> int:
        try:
            answer = client.put_object(
                Bucket="lake", Key=f"race/{number % 10}", Body=b"", IfNoneMatch="*"
            )
        except ClientError as error:
            answer = error.response
        return int(answer["ResponseMetadata"]["HTTPStatusCode"])

    with ThreadPoolExecutor(16) as pool:
        told = Counter(pool.map(status, range(160)))
    assert told[200] == 10
    assert told[409] + told[412] == 150


@pytest.mark.parametrize(("writer", "own", "others"), [("lakehouse", "lake", "warehouse"),
                                                      ("engine", "warehouse", "lake")])  # fmt: skip
def test_each_writes_its_own_bucket_and_reads_the_other(
    stack: Stack, writer: str, own: str, others: str
) -> None:
    client = stack.s3(writer).client()
    client.put_object(Bucket=own, Key=f"of/{writer}", Body=b"mine")
    with pytest.raises(ClientError, match=r"AccessDenied|Forbidden|403"):
        client.put_object(Bucket=others, Key=f"of/{writer}", Body=b"not mine")
    assert "Contents" not in client.list_objects_v2(Bucket=others, Prefix=f"of/{writer}")
