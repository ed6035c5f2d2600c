"""The documents' site: built as `make docs` does, whole, and with nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipelines.lake.publish import read_manifest
from tests.embedded.conftest import REPOSITORY, Lakehouse

# What a browser fetches by itself; a link that a reader may follow is none of it.
_FETCHED = {
    "script": ("src",), "link": ("href",), "img": ("src", "srcset"), "iframe": ("src",),
    "source": ("src", "srcset"), "video": ("src", "poster"), "audio": ("src",),
    "embed": ("src",), "object": ("data",), "image": ("href", "xlink:href"), "use": ("href",),
}  # fmt: skip
_ABROAD = re.compile(r"^\s*(?:[a-z]+:)?//", re.IGNORECASE)
_IN_STYLES = re.compile(r"(?:url\(|@import)\s*['\"]?\s*((?:https?:)?//[^'\")\s]+)", re.IGNORECASE)
# These say where a page lies, and load nothing.
_SAID = {"canonical", "alternate", "prev", "next"}


class _Fetched(HTMLParser):
    """What a page has a browser load from other hosts, and its elements that Material loads for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._is_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self._is_style = tag == "style"
        if not (tag == "link" and told.get("rel") in _SAID):
            self.found += [
                told[name] for name in _FETCHED.get(tag, ()) if _ABROAD.match(told.get(name, ""))
            ]
        self.found += _IN_STYLES.findall(told.get("style", ""))
        if "mermaid" in told.get("class", "").split():
            self.found.append("mermaid, which the theme would load")

    def handle_data(self, data: str) -> None:
        if self._is_style:
            self.found += _IN_STYLES.findall(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [str(Path(sys.executable).parent / "mkdocs"), "build", "--strict", "-d", str(folder)],
        cwd=REPOSITORY,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_dictionary_has_a_page_for_each_published_table(site: Path, demo: Lakehouse) -> None:
    manifest = read_manifest(demo.home / "published")
    assert manifest is not None
    index = (site / "dictionary" / "index.html").read_text()
    for name in (*manifest.tables, "quality.results", "quality.quarantine"):
        page = site / "dictionary" / f"{name.replace('.', '/')}.html"
        assert page.is_file(), name
        assert f'href="{name.replace(".", "/")}.html"' in index, name
    assert 'class="relations"' in (site / "dictionary" / "relations.html").read_text()


def test_the_columns_of_pages_are_those_that_are_published(site: Path, demo: Lakehouse) -> None:
    for table in ("marts.mart_client_rfm", "marts._publication", "quality.results"):
        page = (site / "dictionary" / f"{table.replace('.', '/')}.html").read_text()
        published = {row["column_name"] for row in demo.sql(f"describe {table}")}
        told = page.split('id="columns"')[1].split("</table>")[0]
        assert set(re.findall(r"<tr>\s*<td><code>(\w+)</code>", told)) == published


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 100
    for page in pages:
        parser = _Fetched()
        parser.feed(page.read_text(encoding="utf-8"))
        assert not parser.found, page.relative_to(site)
    for sheet in [*site.rglob("*.css"), *site.rglob("*.svg")]:
        assert not _IN_STYLES.findall(sheet.read_text(encoding="utf-8")), sheet.relative_to(site)


def test_what_leaves_the_documents_is_shown_on_the_site(site: Path) -> None:
    assert (
        "open_increment"
        in (site / "source/dbt_project/macros/increment/increment.sql.html").read_text()
    )
    assert (site / "notebooks" / "backtest.html").is_file()
    assert "Keep a Changelog" in (site / "project" / "CHANGELOG.html").read_text()
    dbt = (site / "dbt" / "index.html").read_text(encoding="utf-8")
    assert "model.lakehouse.fct_sale" in dbt
    assert '"send_anonymous_usage_stats": false' in dbt
