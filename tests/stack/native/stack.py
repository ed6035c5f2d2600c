"""Services of the compose file as processes of this machine, on free ports of the loopback."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipelines.commands.init_env import wanted_secrets
from tests.stack.native import compose, mariadb
from tests.stack.native.components import PATH, REPOSITORY, Components, install_environment
from tests.stack.native.compose import Mount, Service, host_of
from tests.stack.native.loopback import LOOPBACK, free_ports
from tests.stack.native.processes import Failed, Process, eventually
from tests.stack.native.s3 import S3Server

# To be up soon. (Code of that kind is given little room by Java; Spark's has none in it, and is
# compiled again and again.)
SPARK_OPTIONS = (
    "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC "
    "-Dspark.sql.codegen.wholeStage=false -Dspark.sql.codegen.factoryMode=NO_CODEGEN "
    "-Dspark.sql.files.minPartitionNum=1"
)
_TRINO_OPTIONS = "-XX:TieredStopAtLevel=1"
# A build of all models takes minutes.
_READY_SECONDS, _ONCE_SECONDS = 180.0, 900.0


class Stack:
    """A set of services with their volumes below one folder.

    Args:
        folder: holds volumes and logs; PostgreSQL's user must be able to enter it.
        is_brief: it lives for a test of few rows: to be up soon is worth more than fast code.
    """

    def __init__(self, folder: Path, components: Components, *, is_brief: bool = True) -> None:
        self.folder = folder
        self._is_brief = is_brief
        self.secrets = {name: secrets.token_urlsafe(18) for name in wanted_secrets()}
        self.services = compose.load(self.secrets)
        self._components = components
        inside = [(s.name, port) for s in self.services.values() for port in sorted(s.ports)]
        self._ports = dict(zip(inside, free_ports(len(inside)), strict=True))
        self._running: dict[str, Process] = {}
        self._completed: set[str] = set()

    def port(self, service: str, port: int) -> int:
        """The port here that stands for a service's port in its container."""
        return self._ports[service, port]

    def up(self, names: Iterable[str]) -> None:
        """Start services in the order given, each once those it depends on are ready.

        Raises:
            Failed: one ended or did not become ready.
        """
        for name in names:
            self.start(name)

    def start(self, name: str, *arguments: str) -> None:
        """Start one service and wait until it is ready; a one-shot service, until it has ended.

        Args:
            arguments: added to those of its command.
        """
        service = self.services[name]
        for other in service.depends_on:
            if other not in self._running and other not in self._completed:
                raise ValueError(f"{name} needs {other}: start that first")
        for mount in service.mounts:
            if mount.is_volume:
                self.volume(mount.source).mkdir(parents=True, exist_ok=True)
            else:
                self._copy(service, mount)
        if service.is_postgres:
            self._prepare_postgres(service)
        if service.is_mariadb:
            self._prepare_mariadb(service)
        if service.own_image in self._components.environments:
            install_environment(service.own_image)
        process = self._process(service, [*service.command, *arguments])
        if not service.healthcheck:
            if process.wait(_ONCE_SECONDS) != 0:
                raise Failed(f"{name} failed:\n{process.told()}")
            self._completed.add(name)
            return
        self._running[name] = process
        self._wait_until_ready(service, process)

    def environment_of(self, name: str) -> Path:
        """Folder of the Python environment in which a service runs."""
        return self._components.environments[name]

    def s3(self, user: str = "lakehouse") -> S3Server:
        """The store, as one of its users sees it."""
        return S3Server(self.port("s3", 7070), user, self.secrets[f"S3_{user.upper()}_PASSWORD"])

    def kill(self, name: str) -> None:
        """End a service as a power cut would."""
        self._running.pop(name).kill()

    def stop(self, name: str) -> None:
        self._running.pop(name).stop()

    def down(self) -> None:
        """Stop everything, last started first."""
        for name in reversed(list(self._running)):
            self.stop(name)

    def told(self) -> dict[str, dict[str, object]]:
        """Of each running service: process, and the port here of each of its ports."""
        return {
            name: {
                "pid": process.pid,
                "ports": {inside: self.port(name, inside) for inside in self.services[name].ports},
            }
            for name, process in self._running.items()
        }

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    # From container to process

    def volume(self, name: str) -> Path:
        """Where a named volume lies here."""
        return self.folder / "volumes" / name

    def _bound(self, service: Service, mount: Mount) -> Path:
        return self.folder / "mounts" / service.name / mount.source

    def _copy(self, service: Service, mount: Mount) -> None:
        """A copy with the paths of this machine, which the service's user can read."""
        source, target = REPOSITORY / mount.source, self._bound(service, mount)
        for file in [source] if source.is_file() else sorted(source.rglob("*")):
            if file.is_dir():
                continue
            copy = target / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            text = file.read_text(encoding="utf-8")
            for inside, here in self._components.images.items():
                text = text.replace(inside, str(here))
            copy.write_text(text, encoding="utf-8")

    def _paths(self, service: Service) -> dict[str, Path]:
        """Paths within the container, longest first, and where they lie here."""
        paths = dict(self._components.images)
        paths["/var/run/postgresql"] = self.volume("postgres-sockets")
        paths["/run/mysqld"] = self.volume("mariadb-sockets")
        for mount in service.mounts:
            here = self.volume(mount.source) if mount.is_volume else self._bound(service, mount)
            paths[mount.target] = here
        return dict(sorted(paths.items(), key=lambda item: -len(item[0])))

    def _translated(self, service: Service, text: str) -> str:
        """A command's word with the paths and ports that it has here."""
        for inside, here in self._paths(service).items():
            text = text.replace(inside, str(here))
        text = text.replace("0.0.0.0", LOOPBACK)  # noqa: S104
        for port in service.ports:
            text = re.sub(rf"\b{port}\b", str(self.port(service.name, port)), text)
        return text

    def environment(self, service: Service) -> dict[str, str]:
        """Its variables, with addresses, ports and paths as they are here."""
        given = service.environment
        found = {}
        for variable, value in given.items():
            is_service = variable.endswith("_HOST") and value in self.services
            if is_service or variable.endswith("_LISTEN"):
                found[variable] = LOOPBACK
            elif variable.endswith("_PORT"):
                host = host_of(variable, given, service.name)
                found[variable] = str(self.port(host, int(value)))
            else:
                found[variable] = self._translated(service, value)
        path = f"{self._components.postgres}:{PATH}"
        if service.name == "trino":
            path = f"{self._components.trino_java}:{path}"
        if service.name == "spark" and self._is_brief:
            found |= {"JDK_JAVA_OPTIONS": SPARK_OPTIONS, "SPARK_PARTITIONS": "1"}
        if service.name == "trino" and self._is_brief:
            found["JDK_JAVA_OPTIONS"] = _TRINO_OPTIONS
        return {
            "PATH": path, "HOME": str(self.folder), "LANG": "C.UTF-8",
            "KAFKA_JARS": str(self._components.kafka_jars), **found,
        }  # fmt: skip

    def _process(self, service: Service, command: Iterable[str]) -> Process:
        return Process(
            [self._translated(service, word) for word in command],
            environment=self.environment(service),
            log=self.log(service.name),
            user=_user(service),
            # PostgreSQL's fast shutdown.
            stop_signal=signal.SIGINT if service.is_postgres else signal.SIGTERM,
        )

    def _wait_until_ready(self, service: Service, process: Process) -> None:
        command = [self._translated(service, word) for word in service.healthcheck]
        environment = self.environment(service)

        def is_ready() -> bool:
            code = process.ended()
            if code is not None:
                raise Failed(f"{service.name} ended with {code}:\n{process.told()}")
            checked = subprocess.run(command, env=environment, capture_output=True, check=False)
            return checked.returncode == 0

        if not eventually(is_ready, _READY_SECONDS):
            raise Failed(f"{service.name} is not ready in time:\n{process.told()}")

    # What the image of PostgreSQL does before its first start

    def _prepare_postgres(self, service: Service) -> None:
        paths = self._paths(service)
        data = paths["/var/lib/postgresql/data"]
        if (data / "PG_VERSION").exists():
            return
        sockets = paths["/var/run/postgresql"]
        sockets.mkdir(parents=True, exist_ok=True)
        if user := _user(service):
            for folder in (data, sockets):
                shutil.chown(folder, user, user)
        data.chmod(0o700)
        variables = self.environment(service) | {"PGDATA": str(data)}
        admin = variables["POSTGRES_USER"]
        self._run(service, variables, "initdb", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
                  "-U", admin)  # fmt: skip
        (data / "pg_hba.conf").write_text(
            "host replication all 127.0.0.1/32 scram-sha-256\n"
            "host all all 127.0.0.1/32 scram-sha-256\nlocal all all trust\n"
        )
        with_socket = f"-c listen_addresses='' -k {sockets}"
        self._run(service, variables, "pg_ctl", "-w", "-o", with_socket, "start")
        variables |= {"PGHOST": str(sockets)}
        try:
            password = f"alter role {admin} password '{variables['POSTGRES_PASSWORD']}'"
            self._run(service, variables, "psql", "-qU", admin, "-d", "postgres", "-c", password)
            self._run(service, variables, "createdb", "-U", admin, variables["POSTGRES_DB"])
            for script in sorted(paths["/docker-entrypoint-initdb.d"].iterdir()):
                self._run(service, variables, "sh", str(script))
        finally:
            self._run(service, variables, "pg_ctl", "-w", "-m", "fast", "stop")

    def _prepare_mariadb(self, service: Service) -> None:
        paths = self._paths(service)
        mariadb.prepare(
            [self._translated(service, word) for word in service.command],
            variables=self.environment(service),
            data=paths["/var/lib/mysql"],
            scripts=paths["/docker-entrypoint-initdb.d"],
            log=self.log(service.name),
            user=_user(service),
        )

    def _run(self, service: Service, variables: Mapping[str, str], *command: str) -> None:
        process = Process(
            command, environment=variables, log=self.log(service.name), user=_user(service)
        )
        if process.wait(60) != 0:
            raise Failed(f"{service.name}: {command[0]} failed:\n{process.told()}")


def _user(service: Service) -> str | None:
    """As whom root runs a service: databases refuse to be root."""
    if os.geteuid() != 0:
        return None
    if service.is_postgres:
        return "postgres"
    # Debian makes no user for the packages that are only programs.
    return "nobody" if service.is_mariadb else None
