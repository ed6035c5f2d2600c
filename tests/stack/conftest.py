"""The real servers, started once for all tests here."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import NodeManager

from tests.stack.native.components import Components, install
from tests.stack.native.loopback import LOOPBACK
from tests.stack.native.stack import Stack
from tests.stack.parity import SparkServer, TrinoServer

TRINO_USERS = ("admin", "dbt", "analyst")
# Those who ask Trino or Spark share their servers; all others have servers of their own.
OF_ENGINES = {"features", "parity", "spark", "spark_jobs", "spark_models", "superset", "trino"}


class TwoStacks(LoadScopeScheduling):
    """Two processes work the tests off, each on a stack of its own, in the order of files."""

    def _split_scope(self, nodeid: str) -> str:
        name = nodeid.partition("::")[0].rpartition("test_")[2].removesuffix(".py")
        return "engines" if name in OF_ENGINES else "services"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> TwoStacks:
    # A process that is killed before it has ended its servers leaves them behind.
    NodeManager.EXIT_TIMEOUT = 120
    return TwoStacks(config, log)


@pytest.fixture(scope="session")
def components() -> Components:
    # A test run that is ended must not leave its servers behind: as with Ctrl-C, all is torn down.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return install()


@pytest.fixture(scope="session")
def servers(components: Components) -> Iterator[Stack]:
    """All servers, none of them started."""
    # PostgreSQL runs as another user, who may not enter the folders of pytest.
    folder = Path(tempfile.mkdtemp(prefix="lakehouse-stack-"))
    folder.chmod(0o755)
    running = Stack(folder, components)
    try:
        yield running
    finally:
        running.down()
        if "LAKEHOUSE_STACK_KEEP" not in os.environ:
            shutil.rmtree(folder)


@pytest.fixture(scope="session")
def store(servers: Stack) -> Stack:
    """The S3 store."""
    servers.up(["s3", "s3-init"])
    return servers


@pytest.fixture(scope="session")
def platform_db(servers: Stack) -> Stack:
    """The database in which services keep their state."""
    servers.up(["platform-db"])
    return servers


@pytest.fixture(scope="session")
def redis(servers: Stack) -> Stack:
    """Features and the cache."""
    servers.up(["redis"])
    return servers


@pytest.fixture(scope="session")
def stack(servers: Stack, store: Stack) -> Stack:
    """The shop's database with its capture, and the S3 store."""
    servers.up(["postgres", "kafka", "connect", "connect-init"])
    return servers


@pytest.fixture(scope="session")
def mariadb(stack: Stack) -> Stack:
    """The same, with MariaDB."""
    stack.up(["mariadb"])
    return stack


@pytest.fixture(scope="session")
def metastore(stack: Stack, platform_db: Stack) -> Stack:
    """The same, with the metastore that the engines share, its catalog empty."""
    stack.up(["metastore"])
    return stack


@pytest.fixture(scope="session")
def spark_server(metastore: Stack) -> SparkServer:
    metastore.up(["spark"])
    port = metastore.port("spark", 10000)
    return SparkServer(LOOPBACK, port, metastore.s3().lake("parity"))


@pytest.fixture(scope="session")
def trino_server(metastore: Stack) -> TrinoServer:
    stack = metastore
    stack.up(["trino-init", "trino"])
    return TrinoServer(
        LOOPBACK,
        stack.port("trino", 8443),
        stack.volume("trino-access") / "ca.pem",
        {user: stack.secrets[f"TRINO_{user.upper()}_PASSWORD"] for user in TRINO_USERS},
        "lakehouse",
        stack.s3().lake("parity"),
    )
