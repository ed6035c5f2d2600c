"""What the image of MariaDB does before its first start, where there is no image."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.stack.native.processes import Failed, Process, eventually

_STEP_SECONDS, _READY_SECONDS = 60.0, 60.0


def prepare(
    command: Sequence[str],
    *,
    variables: Mapping[str, str],
    data: Path,
    scripts: Path,
    log: Path,
    user: str | None,
) -> None:
    """Make the data folder, root's password and the database, and run the scripts; only once.

    Args:
        command: the server's.
        variables: its environment; `MARIADB_SOCKET` is where it listens meanwhile.

    Raises:
        Failed: a step failed, or the server did not become ready.
    """
    if (data / "mysql").exists():
        return

    def run(*words: str) -> None:
        process = Process(words, environment=variables, log=log, user=user)
        if process.wait(_STEP_SECONDS) != 0:
            raise Failed(f"mariadb: {words[0]} failed:\n{process.told()}")

    socket = Path(variables["MARIADB_SOCKET"])
    socket.parent.mkdir(parents=True, exist_ok=True)
    if user:
        for folder in (data, socket.parent):
            shutil.chown(folder, user)
    run("mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db",
        "--auth-root-authentication-method=normal")  # fmt: skip
    client = ("mariadb", "--no-defaults", "--user=root", f"--socket={socket}")
    server = Process([*command, "--skip-networking"], environment=variables, log=log, user=user)
    try:
        ping = [*client, "--execute=select 1"]
        if not eventually(lambda: _succeeds(ping, variables), _READY_SECONDS):
            raise Failed(f"mariadb is not ready in time:\n{server.told()}")
        run(
            *client,
            f"--execute=create database {variables['MARIADB_DATABASE']}; "
            f"set password for root@localhost = password('{variables['MARIADB_ROOT_PASSWORD']}')",
        )
        for script in sorted(scripts.iterdir()):
            run("sh", str(script))
    finally:
        server.stop()


def _succeeds(command: Sequence[str], variables: Mapping[str, str]) -> bool:
    done = subprocess.run(command, env=dict(variables), capture_output=True, check=False)
    return done.returncode == 0
