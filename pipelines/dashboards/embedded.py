"""Superset on this machine: an environment of its own, its state in the lake's home."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.dashboards.published_views import FOLDER
from pipelines.errors import LakehouseError
from pipelines.settings import REPOSITORY, Settings

INFRA = REPOSITORY / "infra" / "superset"
ADMIN = "admin"
_LOG = "superset.log"
_STARTS_WITHIN_S = 180
_TAIL = 1500


@dataclass(frozen=True)
class Instance:
    """Superset's place in a home.

    Attributes:
        folder: its state, and the log.
        python: of its environment.
        port: on loopback.
    """

    folder: Path
    python: Path
    port: int

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def password(self) -> str:
        """The admin's; made with the state, and kept beside it for its owner's eyes alone."""
        return (self.folder / "password").read_text(encoding="utf-8")

    @property
    def is_new(self) -> bool:
        """Whether there is no state yet."""
        return not (self.folder / "password").exists()

    def initialise(self) -> None:
        """Make or migrate its state.

        Raises:
            LakehouseError: Superset cannot; its log's end is told.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("secret", "password"):
            if not (self.folder / name).exists():
                _keep(self.folder / name, secrets.token_urlsafe(24))
        with (self.folder / _LOG).open("ab") as log:
            done = subprocess.run(  # noqa: S603
                [self.python, INFRA / "init.py"],
                env=self._environment(),
                stdout=log,
                stderr=log,
                check=False,
            )
        if done.returncode:
            raise LakehouseError(
                f"Superset's state was not made: …{self._told()}",
                f"correct the cause, or delete {self.folder}, then try again",
            )

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Superset as a child of this process; it ends with the block.

        Raises:
            LakehouseError: the port is taken, or it does not start.
        """
        self._refuse_taken_port()
        command: list[str | Path] = [
            self.python, "-m", "gunicorn", f"--bind=127.0.0.1:{self.port}", "--workers=1",
            "--worker-class=gthread", "--threads=8", "--timeout=120", "superset.app:create_app()",
        ]  # fmt: skip
        with (self.folder / _LOG).open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                command, env=self._environment(), stdout=log, stderr=log
            )
        # Ended by the system as by Ctrl-C: the child goes, too.
        former = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            self._await(process)
            yield process
        finally:
            signal.signal(signal.SIGTERM, former)
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _refuse_taken_port(self) -> None:
        """Who has it might answer in our stead."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError as error:
                raise LakehouseError(
                    f"port {self.port} is taken: {error}", "end what has it, or give --port"
                ) from None

    def _await(self, process: subprocess.Popen[bytes]) -> None:
        ends = time.monotonic() + _STARTS_WITHIN_S
        while time.monotonic() < ends and process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):  # noqa: S310
                    return
            except (OSError, urllib.error.URLError):
                time.sleep(0.3)
        raise LakehouseError(
            f"Superset does not start on port {self.port}: …{self._told()}",
            f"see {self.folder / _LOG}",
        )

    def _environment(self) -> dict[str, str]:
        told = os.environ | {
            "SUPERSET_CONFIG_PATH": str(INFRA / "embedded_config.py"),
            "SUPERSET_HOME": str(self.folder),
            # DuckDB tells times in the zone of its process.
            "TZ": "UTC",
            "SUPERSET_SECRET_KEY": (self.folder / "secret").read_text(encoding="utf-8"),
            "SUPERSET_ADMIN_PASSWORD": self.password,
        }
        # What this process imports is none of Superset's business.
        return {name: value for name, value in told.items() if name != "PYTHONPATH"}

    def _told(self) -> str:
        return (self.folder / _LOG).read_text(encoding="utf-8", errors="replace")[-_TAIL:]


def instance(settings: Settings, python: Path, port: int) -> Instance:
    """The one of a home."""
    return Instance((settings.home / FOLDER).resolve(), python, port)


def environment() -> Path:
    """The interpreter of Superset's environment, which is made where it is not there yet.

    It is shared by all homes of a user, and made anew when its requirements change.

    Raises:
        LakehouseError: a package cannot be installed.
    """
    requirements = INFRA / "requirements.txt"
    version = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lakehouse"
    folder = cache / f"superset-{version}"
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    commands: list[list[str | Path]] = [
        [sys.executable, "-m", "venv", folder],
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--require-hashes", "-r", requirements],
    ]  # fmt: skip
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise LakehouseError(
                f"Superset's environment was not made: {done.stderr.strip()[-_TAIL:]}",
                f"see that pip reaches its registry and {cache} has 1 GB, then try again",
            )
    (folder / "complete").touch()
    return python


def _keep(path: Path, content: str) -> None:
    """Write what nobody else may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
