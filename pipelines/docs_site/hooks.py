"""What MkDocs calls while it builds the site: see mkdocs.yml."""

from __future__ import annotations

import posixpath
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from pipelines.dbt_project import Project
from pipelines.docs_site.dictionary import dictionary
from pipelines.docs_site.links import Repository
from pipelines.docs_site.markdown import adapted
from pipelines.docs_site.notebooks import as_markdown
from pipelines.docs_site.pages import pages
from pipelines.settings import EMBEDDED, Settings

_STAR = "*"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and open up the stars of the navigation."""
    docs = Path(config.docs_dir)
    repository = Repository(docs.parent)
    documents = {
        f"{docs.name}/{file.src_uri}": file.content_string
        for file in files.documentation_pages()
        if file.abs_src_path
    }
    shown = {
        f"{path.relative_to(docs).with_suffix('.md').as_posix()}": as_markdown(
            path.read_text(encoding="utf-8")
        )
        for path in sorted(docs.glob("notebooks/*.ipynb"))
    }
    made, dbt = _dictionary(docs.parent)
    linking = {f"{docs.name}/{page}": text for page, text in made.items()}
    shown |= {page: repository.relinked(text, f"{docs.name}/{page}") for page, text in made.items()}
    shown |= repository.pages(documents | linking)
    for page, text in shown.items():
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, "dbt/index.html", content=dbt))
    names = [file.src_uri for file in files.documentation_pages()]
    config.nav = _opened(config.nav, names)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to pages of the site, and Markdown be what MkDocs understands."""
    if page.file.generated_by is None:
        docs = Path(config.docs_dir)
        at = f"{docs.name}/{page.file.src_uri}"
        markdown = Repository(docs.parent).relinked(markdown, at)
    return adapted(markdown)


def _dictionary(root: Path) -> tuple[dict[str, str], str]:
    """Pages of the data dictionary, and dbt's own."""
    # A lake without tables, kept for the next build: dbt parses again only what has changed.
    home = root / "dbt_project" / "target" / "docs-home"
    settings = Settings(
        home=home, project_dir=root / "dbt_project", target=EMBEDDED, _env_file=None
    )
    project = Project(settings)
    dbt = project.document().read_text(encoding="utf-8")
    return pages(dictionary(settings, project, root)), dbt


def _opened(nav: Any, names: list[str]) -> Any:
    """A navigation in which all pages stand that a name with a star fits, indices first."""
    if isinstance(nav, dict):
        return {title: _opened(below, names) for title, below in nav.items()}
    if not isinstance(nav, list):
        return nav
    found: list[Any] = []
    for entry in nav:
        if isinstance(entry, str) and _STAR in entry:
            fitting = [name for name in names if fnmatch(name, entry)]
            found += sorted(fitting, key=lambda name: (not _is_index(name), name))
        else:
            found.append(_opened(entry, names))
    return found


def _is_index(name: str) -> bool:
    return posixpath.basename(name) in ("README.md", "index.md")
