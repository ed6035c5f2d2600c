"""The programs that stand for the images: from Debian packages and Maven, kept in ~/.cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lakehouse-stack"
# Natively as in the Dockerfile of Connect.
DEBEZIUM = "3.7.0.Final"
_PACKAGES = {
    "initdb": "postgresql",
    "java": "openjdk-17-jre-headless",
    "mvn": "maven",
    "curl": "curl",
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
    """

    postgres: Path
    kafka_jars: Path
    plugins: Path

    @property
    def images(self) -> dict[str, Path]:
        """Where paths within the images lie here."""
        return {
            "/opt/kafka/bin": REPOSITORY / "infra" / "native" / "bin",
            "/opt/connect/plugins": self.plugins,
        }


def install() -> Components:
    """Install what is missing; a second call only looks.

    Raises:
        Missing: a Debian package is not there, and this user may not install it.
    """
    wanted = [package for program, package in _PACKAGES.items() if not _found(program)]
    if wanted:
        _apt_install(wanted)
    found = Components(_postgres_programs(), CACHE / "kafka", CACHE / f"debezium-{DEBEZIUM}")
    _kept(found.kafka_jars, _fetch_kafka)
    _kept(found.plugins, _fetch_debezium)
    return found


def _found(program: str) -> bool:
    return bool(_postgres_folders()) if program == "initdb" else shutil.which(program) is not None


def _postgres_folders() -> list[Path]:
    return sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def _postgres_programs() -> Path:
    return _postgres_folders()[-1].parent


def _apt_install(packages: list[str]) -> None:
    if os.geteuid() != 0:
        raise Missing(f"install first: apt-get install {' '.join(packages)}")
    # No cluster of Debian's own: it would run as a service and take the port.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-q"], check=True, env=environment)
    subprocess.run(
        ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages],
        check=True,
        env=environment,
    )


def _kept(folder: Path, fetch: object) -> None:
    """Fill a folder of the cache, which is there whole or not at all."""
    if folder.is_dir():
        return
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    draft.mkdir(parents=True)
    fetch(draft)  # type: ignore[operator]
    draft.rename(folder)


def _maven(*arguments: str) -> None:
    subprocess.run(["mvn", "-B", "-q", *arguments], check=True)


def _fetch_kafka(folder: Path) -> None:
    _maven(
        "-f", str(REPOSITORY / "infra" / "native" / "kafka" / "pom.xml"),
        "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}",
    )  # fmt: skip


def _fetch_debezium(folder: Path) -> None:
    artifact = f"io.debezium:debezium-connector-postgres:{DEBEZIUM}:tar.gz:plugin"
    _maven("dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}")
    for archive in list(folder.glob("*.tar.gz")):
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        archive.unlink()
