"""The programs that stand for the images: from Debian, Maven, PyPI and Go, kept in ~/.cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lakehouse-stack"
# Natively as in the Dockerfiles of Connect and the metastore, and as the image of the S3 store.
DEBEZIUM = {"postgres": "3.7.0.Final", "sqlserver": "3.6.1.Final", "mariadb": "3.5.0.Final"}
METASTORE = "3.1.3"
VERSITYGW = "v1.8.0"
# The newest whose server is on Maven Central; the compose file has a later one.
TRINO = "476"
# As in the Dockerfile of Spark: the package of its Python API holds all of Spark.
SPARK = "4.2.0"
# The second S3 server that the landing is tried on; it has no other kind of version.
MINIO = "v0.0.0-20260212201848-7aac2a2c5b7c"
_TRINO_PLUGINS = ("delta-lake", "password-authenticators")
_TRINO_JAVA = 24
# Each in an environment of its own, of the very packages that its image has.
PYTHON_SERVICES = ("prefect", "mlflow", "superset")
_SPARK_EXTRA = REPOSITORY / "infra" / "spark"
# Servers lie where only root looks by default.
PATH = f"{os.environ['PATH']}:/usr/sbin"
_PACKAGES = {
    "initdb": "postgresql",
    # Without Debian's service, which would take the port.
    "mariadbd": "mariadb-server-core",
    "mariadb": "mariadb-client-core",
    # With the compiler: Spark's log store is built from its source.
    "javac": "openjdk-17-jdk-headless",
    "mvn": "maven",
    "curl": "curl",
    "openssl": "openssl",
    "redis-server": "redis-server",
    "wget": "wget",
}


class Missing(Exception):
    """A program is not installed, and cannot be installed here."""


@dataclass(frozen=True)
class Components:
    """Where the programs lie.

    Attributes:
        postgres: folder of PostgreSQL's server programs.
        kafka_jars: jars of Kafka and Connect.
        plugins: folder of Connect's plugins.
        versitygw: the S3 store of the compose file.
        metastore: folder of Hive's metastore, with `lib`, `extra` and `scripts`.
        trino: folder of Trino's server.
        trino_java: folder of the Java that is new enough for Trino.
        spark: folder of Spark, with its Python API.
        spark_jars: Delta Lake and the S3 file system for Spark, and the log store.
        environments: service → folder of its Python environment, installed before its first start.
    """

    postgres: Path
    kafka_jars: Path
    plugins: Path
    versitygw: Path
    metastore: Path
    trino: Path
    trino_java: Path
    spark: Path
    spark_jars: Path
    environments: Mapping[str, Path]

    @property
    def images(self) -> dict[str, Path]:
        """Where paths within the images lie here."""
        return {
            "/opt/kafka/bin": REPOSITORY / "infra" / "native" / "bin",
            "/opt/connect/plugins": self.plugins,
            "/usr/local/bin/versitygw": self.versitygw,
            "/opt/metastore": self.metastore,
            "/usr/lib/trino": self.trino,
            "/opt/spark": self.spark,
            "/opt/delta/jars": self.spark_jars,
            "/opt/lakehouse": Path(sys.prefix),
            "/srv/lakehouse": REPOSITORY,
            **{f"/opt/{name}": folder for name, folder in self.environments.items()},
        }


def install() -> Components:
    """Install what is missing; a second call only looks.

    Raises:
        Missing: a Debian package is not there, and this user may not install it.
    """
    wanted = [package for program, package in _PACKAGES.items() if not _found(program)]
    if wanted:
        apt_install(wanted)
    found = Components(
        postgres=_postgres_programs(),
        kafka_jars=CACHE / "kafka",
        plugins=CACHE / "-".join(["debezium", *DEBEZIUM.values()]),
        versitygw=CACHE / f"versitygw-{VERSITYGW}" / "versitygw",
        metastore=CACHE / f"metastore-{METASTORE}",
        trino=CACHE / "-".join(["trino", TRINO, *_TRINO_PLUGINS]),
        trino_java=_java_of_trino(),
        spark=CACHE / f"spark-{SPARK}-python",
        spark_jars=CACHE / f"spark-jars-{_digest(_SPARK_EXTRA)}",
        environments={name: _environment(name) for name in PYTHON_SERVICES},
    )
    _kept(found.kafka_jars, _fetch_kafka)
    _kept(found.plugins, _fetch_debezium)
    _kept(
        found.versitygw.parent,
        partial(_go, f"github.com/versity/versitygw/cmd/versitygw@{VERSITYGW}"),
    )
    _kept(found.metastore, _fetch_metastore)
    _kept(found.trino, _fetch_trino)
    _kept(found.spark, _fetch_spark)
    _kept(found.spark_jars, _build_spark_jars)
    return found


def install_minio() -> Path:
    """Build the second S3 server, which takes minutes; a second call only looks."""
    program = CACHE / f"minio-{MINIO}" / "minio"
    _kept(program.parent, partial(_go, f"github.com/minio/minio@{MINIO}"))
    return program


def install_environment(service: str) -> Path:
    """Install the packages of a service's image, which takes minutes; a second call only looks."""
    folder = _environment(service)
    _kept(folder, partial(_install_packages, _requirements(service)))
    return folder


def install_promtool() -> Path:
    """Take Prometheus' tool for rules out of Debian's package, whose service is not wanted."""
    folder = CACHE / "promtool"
    _kept(folder, _fetch_promtool)
    return folder / "promtool"


def _fetch_promtool(folder: Path) -> None:
    if os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-q"], check=True)
    subprocess.run(["apt-get", "download", "-q", "prometheus"], check=True, cwd=folder)
    (package,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", str(package), str(folder / "all")], check=True)
    shutil.move(folder / "all" / "usr" / "bin" / "promtool", folder)
    shutil.rmtree(folder / "all")
    package.unlink()


def _found(program: str) -> bool:
    if program == "initdb":
        return bool(_postgres_folders())
    return shutil.which(program, path=PATH) is not None


def _postgres_folders() -> list[Path]:
    return sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def _postgres_programs() -> Path:
    return _postgres_folders()[-1].parent


def apt_install(packages: list[str]) -> None:
    """Install Debian packages.

    Raises:
        Missing: this user may not.
    """
    if os.geteuid() != 0:
        raise Missing(f"install first: apt-get install {' '.join(packages)}")
    # No cluster of Debian's own: it would run as a service and take the port.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with _alone():
        subprocess.run(["apt-get", "update", "-q"], check=True, env=environment)
        subprocess.run(
            ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages],
            check=True,
            env=environment,
        )


def _java_of_trino() -> Path:
    """Where the programs of a Java lie that is new enough: each tells its version in a file."""
    for release in sorted(Path("/usr/lib/jvm").glob("*/release")):
        told = re.search(r'JAVA_VERSION="(\d+)', release.read_text())
        if told and int(told[1]) >= _TRINO_JAVA:
            return release.parent / "bin"
    raise Missing(
        f"install a Java of version {_TRINO_JAVA} or later below /usr/lib/jvm: Trino runs on it"
    )


def _kept(folder: Path, fetch: Callable[[Path], None]) -> None:
    """Fill a folder of the cache, which is there whole or not at all."""
    with _alone():
        if folder.is_dir():
            return
        draft = folder.with_name(f".{folder.name}.{os.getpid()}")
        draft.mkdir(parents=True)
        fetch(draft)
        draft.rename(folder)


@contextmanager
def _alone() -> Iterator[None]:
    """Let others who install wait, to find what they want installed."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _maven(*arguments: str) -> None:
    subprocess.run(["mvn", "-B", "-q", *arguments], check=True)


def _fetch_kafka(folder: Path) -> None:
    _maven(
        "-f", str(REPOSITORY / "infra" / "native" / "kafka" / "pom.xml"),
        "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}",
    )  # fmt: skip


def _fetch_debezium(folder: Path) -> None:
    for name, version in DEBEZIUM.items():
        artifact = f"io.debezium:debezium-connector-{name}:{version}:tar.gz:plugin"
        _maven("dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}")
    for archive in list(folder.glob("*.tar.gz")):
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        archive.unlink()


def _go(package: str, folder: Path) -> None:
    if shutil.which("go") is None:
        raise Missing("install Go: the S3 servers are built from their sources")
    environment = os.environ | {"GOBIN": str(folder), "GOFLAGS": "-modcacherw"}
    # Elsewhere than in a module of somebody else.
    subprocess.run(["go", "install", package], check=True, env=environment, cwd=folder)


def _fetch_metastore(folder: Path) -> None:
    artifact = f"org.apache.hive:hive-standalone-metastore:{METASTORE}:tar.gz:bin"
    _maven("dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}")
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        for member in packed.getmembers():
            _, _, member.name = member.name.partition("/")
            packed.extract(member, folder, filter="data")
    archive.unlink()
    _maven(
        "-f", str(REPOSITORY / "infra" / "metastore" / "pom.xml"),
        "dependency:copy-dependencies", "-DincludeScope=runtime",
        f"-DoutputDirectory={folder / 'extra'}",
    )  # fmt: skip


def _fetch_trino(folder: Path) -> None:
    _maven("dependency:copy", f"-Dartifact=io.trino:trino-server:{TRINO}:tar.gz",
           f"-DoutputDirectory={folder}")  # fmt: skip
    (archive,) = folder.glob("*.tar.gz")
    wanted = ("bin/", "lib/", *(f"plugin/{name}/" for name in _TRINO_PLUGINS))
    with tarfile.open(archive) as packed:
        members = packed.getmembers()
    # A jar that several plugins share is stored once, and linked to from the others.
    links: dict[str, list[str]] = {}
    for member in members:
        if member.islnk():
            links.setdefault(member.linkname, []).append(member.name)
    # Read from start to end: what is compressed cannot be jumped about in.
    with tarfile.open(archive, "r|gz") as packed:
        for member in packed:
            if not member.isfile() or member.islnk():
                continue
            names = [name.partition("/")[2] for name in (member.name, *links.get(member.name, ()))]
            places = [folder / name for name in names if name.startswith(wanted)]
            if not places:
                continue
            for place in places:
                place.parent.mkdir(parents=True, exist_ok=True)
            content = packed.extractfile(member)
            assert content is not None
            with places[0].open("wb") as copy:
                shutil.copyfileobj(content, copy, 1 << 20)
            places[0].chmod(member.mode)
            for place in places[1:]:
                place.hardlink_to(places[0])
    archive.unlink()


def _fetch_spark(folder: Path) -> None:
    """Take Spark out of the source package, which holds it whole, instead of installing that."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary=pyspark",
         "--dest", str(folder), f"pyspark=={SPARK}"],
        check=True,
    )  # fmt: skip
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        for member in packed:
            _, _, name = member.name.partition("/")
            name = name.removeprefix("deps/")
            if name.startswith(("bin/", "jars/", "lib/")):
                # Where `spark-submit` looks for what Python programs import.
                member.name = f"python/{name}" if name.startswith("lib/") else name
                packed.extract(member, folder, filter="data")
    archive.unlink()


def _build_spark_jars(folder: Path) -> None:
    # Maven builds beside the sources: on a copy, so that the repository stays as it is.
    sources = folder / "sources"
    shutil.copytree(_SPARK_EXTRA, sources)
    _maven("-f", str(sources / "pom.xml"), "package")
    _maven(
        "-f", str(sources / "pom.xml"), "dependency:copy-dependencies",
        "-DincludeScope=runtime", f"-DoutputDirectory={folder}",
    )  # fmt: skip
    shutil.move(sources / "target" / "lakehouse-log-store.jar", folder)
    shutil.rmtree(sources)


def _requirements(service: str) -> Path:
    return REPOSITORY / "infra" / service / "requirements.txt"


def _environment(service: str) -> Path:
    digest = hashlib.sha256(_requirements(service).read_bytes()).hexdigest()[:12]
    return CACHE / f"{service}-{digest}"


def _install_packages(requirements: Path, folder: Path) -> None:
    # The scripts in it name a folder that is renamed later: it is used by `python -m`.
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run(
        [str(folder / "bin" / "python"), "-m", "pip", "install", "-q",
         "--disable-pip-version-check", "--no-deps", "--require-hashes", "-r", str(requirements)],
        check=True,
    )  # fmt: skip


def _digest(folder: Path) -> str:
    """Changes with what the jars of the folder are made of."""
    files = [folder / "pom.xml", *sorted((folder / "src").rglob("*.java"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
