"""Superset's REST interface, as far as dashboards as code need it."""

from __future__ import annotations

import io
import zipfile
from typing import Any
from urllib.parse import quote

import requests
import yaml

from pipelines.errors import LakehouseError, Unavailable

_SECONDS = 120
_PAGE = 100


class Superset:
    """A session of one user.

    Args:
        url: `http://host:port`.

    Raises:
        Unavailable: it does not answer.
        LakehouseError: it refuses the user.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url = url.rstrip("/")
        self._session = requests.Session()
        told = {"username": user, "password": password, "provider": "db"}
        token = self.call("POST", "security/login", json=told)["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"
        # The token and the cookie that comes with it belong together.
        answer = self.call("GET", "security/csrf_token/")
        self._session.headers.update({"X-CSRFToken": answer["result"], "Referer": self._url})

    def call(self, method: str, path: str, **more: Any) -> Any:
        """What it answers, as JSON.

        Raises:
            Unavailable: it does not answer.
            LakehouseError: it refuses; what it says is told.
        """
        return self._answer(method, path, **more).json()

    def _answer(self, method: str, path: str, **more: Any) -> requests.Response:
        try:
            answer = self._session.request(
                method, f"{self._url}/api/v1/{path}", timeout=_SECONDS, **more
            )
        except requests.RequestException as error:
            raise Unavailable(
                f"Superset does not answer at {self._url}: {error}",
                "start it (`lakehouse dashboards up`, or the compose profile bi)",
            ) from None
        if answer.status_code == requests.codes.unauthorized and path == "security/login":
            raise LakehouseError(
                f"Superset at {self._url} refuses the user or the password",
                "the password of `lakehouse dashboards up` lies in <home>/dashboards/password",
            )
        if not answer.ok:
            raise LakehouseError(
                f"Superset answers {answer.status_code} to {method} {path}: {answer.text[:1500]}",
                "its log tells more",
            )
        return answer

    def load(self, content: bytes) -> None:
        """Import a bundle: what it holds is there afterwards, as it holds it."""
        files = {"bundle": ("bundle.zip", content, "application/zip")}
        self.call("POST", "assets/import/", files=files, data={"passwords": "{}"})

    def held(self) -> dict[str, dict[str, Any]]:
        """All dashboards, charts, datasets and databases, in the form in which it takes them."""
        content = self._answer("GET", "assets/export/").content
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {
                # All lies in one folder.
                path.partition("/")[2]: yaml.safe_load(archive.read(path))
                for path in archive.namelist()
            }

    def all(self, kind: str, columns: list[str]) -> list[dict[str, Any]]:
        """Every `dashboard`, `chart` or `dataset`, with some columns."""
        found: list[dict[str, Any]] = []
        listed = ",".join(columns)
        while True:
            page = f"(columns:!({listed}),page:{len(found) // _PAGE},page_size:{_PAGE})"
            answer = self.call("GET", f"{kind}/?q={quote(page)}")
            found += answer["result"]
            if len(found) >= answer["count"]:
                return found

    def delete(self, kind: str, number: int) -> None:
        """Delete one by its id."""
        self.call("DELETE", f"{kind}/{number}")
