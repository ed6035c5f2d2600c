"""The S3 store in which a lake's Delta tables may lie.

Its address and keys are the variables that every S3 client knows: `AWS_ENDPOINT_URL`,
`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, and for a store
without TLS `AWS_ALLOW_HTTP=true`. delta-rs reads them by itself; DuckDB and s3fs are told here.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import duckdb

from pipelines.errors import LakehouseError, Unavailable
from pipelines.lake.extensions import extension_path
from pipelines.lake.sql import literal

SCHEME = "s3://"
_CONNECT_SECONDS, _ATTEMPTS = 5, 3
_NEEDED = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def folder(url: str) -> Path:
    """A folder of the store, used as a local one is.

    Raises:
        LakehouseError: the packages for S3 are not installed, or the keys are not given.
    """
    if find_spec("s3fs") is None or find_spec("duckdb_extension_httpfs") is None:
        raise LakehouseError(
            f"the packages that {url} needs are not installed",
            "pip install 'lakehouse-platform[s3]'",
        )
    _demand_keys(url)
    # Here, and not above: it takes a while, which those without a store need not wait.
    from upath import UPath

    found = UPath(
        url,
        endpoint_url=_endpoint(),
        # Others write there, too.
        use_listings_cache=False,
        # Every store knows this style; the other one needs a name in DNS for each bucket.
        config_kwargs={
            "s3": {"addressing_style": "path"},
            "connect_timeout": _CONNECT_SECONDS,
            "retries": {"max_attempts": _ATTEMPTS},
        },
    )
    # UPath has the methods of Path; it is none only to a type checker.
    return cast("Path", found)


def check(url: str) -> None:
    """Ask for the bucket of the store, as everything else would in vain.

    Raises:
        LakehouseError: the store is not reached, or refuses these keys or this bucket.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    bucket = urlsplit(url).netloc
    store: Any = folder(url)
    try:
        store.fs.call_s3("head_bucket", Bucket=bucket)
    except FileNotFoundError as error:
        raise LakehouseError(
            f"there is no bucket {bucket} in the store",
            "make the bucket, or correct LAKEHOUSE_STORE",
        ) from error
    except PermissionError as error:
        raise LakehouseError(
            f"the store refuses these keys for bucket {bucket}",
            "correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what their user may do",
        ) from error
    except (OSError, BotoCoreError, ClientError) as error:
        raise Unavailable(
            f"the store of {url} is not reached: {error}",
            "start the store, or correct AWS_ENDPOINT_URL",
        ) from error


def open_to(connection: duckdb.DuckDBPyConnection, url: str) -> None:
    """Let a DuckDB database read the bucket of `url`, beside those that it can read already.

    Args:
        connection: every later cursor of its database can read the bucket, too.

    Raises:
        LakehouseError: the keys are not given.
    """
    _demand_keys(url)
    connection.load_extension(str(extension_path("httpfs")))
    endpoint, bucket = _endpoint(), urlsplit(url).netloc
    options = {
        "key_id": os.environ["AWS_ACCESS_KEY_ID"],
        "secret": os.environ["AWS_SECRET_ACCESS_KEY"],
        "session_token": os.environ.get("AWS_SESSION_TOKEN"),
        "region": os.environ.get("AWS_REGION", "us-east-1"),
        "scope": SCHEME + bucket,
    }
    if endpoint:
        options |= {
            "endpoint": urlsplit(endpoint).netloc,
            "use_ssl": str(endpoint.startswith("https:")).lower(),
            "url_style": "path",
        }
    told = ", ".join(f"{name} {literal(value)}" for name, value in options.items() if value)
    connection.execute(f'create or replace temporary secret "{bucket}" (type s3, {told})')


def _demand_keys(url: str) -> None:
    if missing := [name for name in _NEEDED if not os.environ.get(name)]:
        raise LakehouseError(
            f"nothing tells the keys of {url}: {' and '.join(missing)} not set",
            "set them in the environment or in .env",
        )


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
