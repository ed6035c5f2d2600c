"""`make stack-up`, `stack-status` and `stack-down`: the stack without containers, to try things on.

A process of its own holds the services; whatever ends it, ends them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import typer

from tests.stack.native.components import REPOSITORY, install
from tests.stack.native.loopback import LOOPBACK
from tests.stack.native.processes import eventually, memory
from tests.stack.native.stack import Stack

FOLDER = Path(tempfile.gettempdir()) / f"lakehouse-stack-{os.getuid()}"
STATE, VARIABLES, LOG = FOLDER / "state.json", FOLDER / "stack.env", FOLDER / "stack.log"
# In the order in which they are started.
SERVICES = ("postgres", "kafka", "connect", "connect-init", "s3", "s3-init", "platform-db",
            "metastore", "trino-init", "trino", "spark", "redis", "prefect", "mlflow")  # fmt: skip
# Only where the variable LAKEHOUSE_STACK_BI is set.
BI = ("superset-init", "superset")
_STOP_SECONDS, _START_SECONDS = 60, 900

app = typer.Typer(help="The stack as processes of this machine.", no_args_is_help=True)


@app.command()
def up() -> None:
    """Start all services, installing what is missing; return once they can be used."""
    if _holder() is not None:
        typer.echo("the stack is up; make stack-status tells more")
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    # PostgreSQL runs as another user.
    FOLDER.mkdir(mode=0o755)
    FOLDER.chmod(0o755)
    with LOG.open("ab") as log:
        holder = subprocess.Popen(
            [sys.executable, "-m", "tests.stack.native", "hold"],
            cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    eventually(lambda: STATE.exists() or holder.poll() is not None, _START_SECONDS)
    if not STATE.exists():
        raise SystemExit(f"the stack did not start:\n{LOG.read_text()[-3000:]}")
    status()


@app.command(hidden=True)
def hold() -> None:
    """Hold the services until a signal comes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    stack = Stack(FOLDER, install())
    try:
        for name in (*SERVICES, *(BI if os.environ.get("LAKEHOUSE_STACK_BI") else ())):
            begun = time.monotonic()
            stack.start(name)
            print(f"{name}: {time.monotonic() - begun:.1f} s", flush=True)
        _tell(stack)
        signal.pause()
    finally:
        STATE.unlink(missing_ok=True)
        stack.down()


@app.command()
def status() -> None:
    """Which services run, their memory and ports, and the variables that lead to them."""
    if _holder() is None:
        raise SystemExit("the stack is not up; make stack-up starts it")
    services = json.loads(STATE.read_text())["services"]
    whole = 0
    for name, told in services.items():
        state = "runs" if Path(f"/proc/{told['pid']}").exists() else "has ended"
        ports = ", ".join(f"{inside} at {here}" for inside, here in told["ports"].items())
        taken = memory(told["pid"]) >> 20
        whole += taken
        typer.echo(f"{name:12} {state:10} {taken:5,} MB  {ports}")
    typer.echo(f"{'together':23} {whole:5,} MB")
    typer.echo(f"\nset -a; . {VARIABLES}; set +a   # addresses and secrets\nlogs: {FOLDER}/*.log")


@app.command()
def down() -> None:
    """End all services, and delete what they kept."""
    holder = _holder()
    if holder is not None:
        os.kill(holder, signal.SIGTERM)
        if not eventually(lambda: not Path(f"/proc/{holder}").exists(), _STOP_SECONDS):
            raise SystemExit(f"process {holder} does not end; see {LOG}")
    shutil.rmtree(FOLDER, ignore_errors=True)


def _holder() -> int | None:
    """The process that holds the services."""
    if not STATE.exists():
        return None
    pid = int(json.loads(STATE.read_text())["pid"])
    return pid if Path(f"/proc/{pid}").exists() else None


def _tell(stack: Stack) -> None:
    shop = f"{LOOPBACK}:{stack.port('postgres', 5432)}/shop"
    variables = stack.secrets | stack.s3().lake("dev") | {
        "SHOP_DATABASE": f"postgresql://shop:{stack.secrets['SHOP_DB_PASSWORD']}@{shop}",
        "LAKEHOUSE_SOURCE_URL": f"postgresql://cdc:{stack.secrets['CDC_DB_PASSWORD']}@{shop}",
        "LAKEHOUSE_KAFKA": f"{LOOPBACK}:{stack.port('kafka', 9092)}",
        "LAKEHOUSE_CONNECT_URL": f"http://{LOOPBACK}:{stack.port('connect', 8083)}",
        "LAKEHOUSE_TRINO_HOST": LOOPBACK,
        "LAKEHOUSE_TRINO_PORT": str(stack.port("trino", 8443)),
        "LAKEHOUSE_TRINO_SCHEME": "https",
        "LAKEHOUSE_TRINO_CERT": str(stack.volume("trino-access") / "ca.pem"),
        "LAKEHOUSE_TRINO_USER": "dbt",
        "LAKEHOUSE_TRINO_PASSWORD": stack.secrets["TRINO_DBT_PASSWORD"],
        "LAKEHOUSE_TRINO_RAW": "s3://lake/dev/raw",
        "LAKEHOUSE_SPARK_PORT": str(stack.port("spark", 10000)),
        "LAKEHOUSE_SPARK_RAW": "s3://lake/dev/raw",
        "PREFECT_API_URL": f"http://{LOOPBACK}:{stack.port('prefect', 4200)}/api",
        "PREFECT_API_AUTH_STRING": f"lakehouse:{stack.secrets['PREFECT_API_PASSWORD']}",
        "MLFLOW_TRACKING_URI": f"http://{LOOPBACK}:{stack.port('mlflow', 5000)}",
        "LAKEHOUSE_FEATURE_REGISTRY": (
            f"postgresql://feast:{stack.secrets['FEAST_DB_PASSWORD']}"
            f"@{LOOPBACK}:{stack.port('platform-db', 5433)}/feast"
        ),
        "LAKEHOUSE_REDIS": (
            f"redis://:{stack.secrets['REDIS_PASSWORD']}@{LOOPBACK}:{stack.port('redis', 6379)}/0"
        ),
    }  # fmt: skip
    VARIABLES.touch(0o600)
    VARIABLES.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    draft = STATE.with_suffix(".tmp")
    draft.write_text(json.dumps({"pid": os.getpid(), "services": stack.told()}))
    draft.rename(STATE)


if __name__ == "__main__":
    app()
