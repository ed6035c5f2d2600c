"""S3 servers as the tests use them: the one of the compose file, and a second one beside it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.config
import botocore.session
from botocore.exceptions import ClientError, HTTPClientError

from tests.stack.native.loopback import LOOPBACK, free_ports
from tests.stack.native.processes import Failed, Process, eventually

REGION = "us-east-1"
_READY_SECONDS = 60.0


@dataclass(frozen=True)
class S3Server:
    """A server with the bucket `lake`, and the keys of one of its users."""

    port: int
    user: str
    password: str

    def lake(self, folder: str, port: int | None = None) -> dict[str, str]:
        """Variables that put a lake into a folder of the bucket.

        Args:
            port: of a proxy before the server.
        """
        return {
            "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{port or self.port}",
            "AWS_ACCESS_KEY_ID": self.user,
            "AWS_SECRET_ACCESS_KEY": self.password,
            "AWS_REGION": REGION,
            "AWS_ALLOW_HTTP": "true",
            "LAKEHOUSE_STORE": f"s3://lake/{folder}",
        }

    def client(self) -> Any:
        return botocore.session.get_session().create_client(
            "s3",
            region_name=REGION,
            endpoint_url=f"http://{LOOPBACK}:{self.port}",
            aws_access_key_id=self.user,
            aws_secret_access_key=self.password,
            config=botocore.config.Config(s3={"addressing_style": "path"}),
        )


@contextmanager
def minio(program: Path, folder: Path) -> Iterator[S3Server]:
    """Run MinIO, with an empty bucket `lake`, until the context ends.

    Raises:
        Failed: it ended or did not become ready.
    """
    (port,) = free_ports(1)
    server = S3Server(port, "lakehouse", secrets.token_urlsafe(18))
    process = Process(
        [str(program), "server", str(folder / "data"), "--address", f"{LOOPBACK}:{port}"],
        environment={
            "HOME": str(folder),
            "MINIO_ROOT_USER": server.user,
            "MINIO_ROOT_PASSWORD": server.password,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        },
        log=folder / "minio.log",
    )
    client = server.client()

    def has_bucket() -> bool:
        if process.ended() is not None:
            raise Failed(f"MinIO ended:\n{process.told()}")
        try:
            client.create_bucket(Bucket="lake")
        except (ClientError, HTTPClientError):
            return False
        return True

    try:
        if not eventually(has_bucket, _READY_SECONDS):
            raise Failed(f"MinIO is not ready in time:\n{process.told()}")
        yield server
    finally:
        process.stop()
