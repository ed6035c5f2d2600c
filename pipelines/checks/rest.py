"""Questions to servers that answer by HTTP."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import unquote, urlsplit

from pipelines.errors import LakehouseError

_SECONDS = 5.0
_REFUSED = (401, 403)


def basic(credentials: str | None) -> str | None:
    """The header that tells `user:password`; None where there are none."""
    if not credentials:
        return None
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


def without_credentials(url: str) -> tuple[str, str | None]:
    """An address that may be shown, without a slash at its end, and the `user:password` in it."""
    parts = urlsplit(url)
    credentials, _, place = parts.netloc.rpartition("@")
    return parts._replace(netloc=place).geturl().rstrip("/"), unquote(credentials) or None


def answer(server: str, url: str, authorization: str | None, address: str, access: str) -> Any:
    """What a server answers to GET: the content of its JSON, else its text.

    Args:
        server: its name and address, for a person.
        authorization: a header's value.
        address: the setting that leads there.
        access: the setting with the credentials.

    Raises:
        LakehouseError: it does not answer, or refuses.
    """
    headers = {"Authorization": authorization} if authorization else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as response:  # noqa: S310
            text = response.read().decode()
    except urllib.error.HTTPError as error:
        if error.code in _REFUSED:
            raise LakehouseError(
                f"{server} refuses with {error.code}", f"correct {access}"
            ) from None
        raise LakehouseError(
            f"{server} answers with {error.code} to {url}", f"see its log, or correct {address}"
        ) from None
    except (OSError, ValueError) as error:
        raise LakehouseError(
            f"{server} does not answer: {error}", f"start it, or correct {address}"
        ) from None
    try:
        return json.loads(text)
    except ValueError:
        return text
