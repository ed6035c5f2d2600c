"""Links of the documents to files of the repository: the site has a page for each."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.docs_site.markdown import replaced_outside_code

_LINK = re.compile(r"(?<=\]\()([^)\s#]+)(#[^)\s]*)?(?=\))")
_ABROAD = re.compile(r"^[a-z][a-z0-9+.-]*:|^/", re.IGNORECASE)
_DOCS = "docs/"
# What the site takes from the folder of documents as it is.
_OWN = (".md", ".png", ".svg")
_LANGUAGES = {
    ".sql": "sql", ".yml": "yaml", ".yaml": "yaml", ".py": "python", ".toml": "toml",
    ".example": "bash", ".json": "json",
}  # fmt: skip


@dataclass(frozen=True)
class Repository:
    """The files of the repository, and where the site shows them.

    Paths are relative to the root and have `/`.
    """

    root: Path

    def page(self, path: str) -> str:
        """Where the site has a file or folder, as MkDocs names its sources."""
        if path.startswith(_DOCS):
            inner = path.removeprefix(_DOCS)
            if path.endswith(_OWN):
                return inner
            if path.endswith(".ipynb"):
                return f"{inner.removesuffix('.ipynb')}.md"
        if (self.root / path).is_dir():
            readme = posixpath.join(path, "README.md")
            return (
                self.page(readme) if (self.root / readme).is_file() else f"source/{path}/index.md"
            )
        if path.endswith(".md") and "/" not in path:
            return f"project/{path}"
        # MkDocs passes over names that begin with a dot.
        return f"source/{path.lstrip('.')}.md"

    def linked(self, text: str, at: str) -> Iterator[str]:
        """The files and folders of the repository that a document links to."""
        found: list[str] = []

        def note(match: re.Match[str]) -> str:
            target = self._target(match[1], at)
            if target is not None:
                found.append(target)
            return match[0]

        replaced_outside_code(text, _LINK, note)
        yield from dict.fromkeys(found)

    def relinked(self, text: str, at: str) -> str:
        """A document whose links lead to pages of the site.

        A link that leads nowhere stays as it is, for MkDocs to refuse it.
        """
        folder = posixpath.dirname(self.page(at))

        def lead(match: re.Match[str]) -> str:
            target = self._target(match[1], at)
            if target is None:
                return match[0]
            return posixpath.relpath(self.page(target), folder or ".") + (match[2] or "")

        return replaced_outside_code(text, _LINK, lead)

    def pages(self, documents: Mapping[str, str]) -> dict[str, str]:
        """Pages for files outside of the folder of documents that these link to, and so on.

        Args:
            documents: path → text.

        Returns:
            Page → Markdown.
        """
        found: dict[str, str] = {}
        waiting = dict(documents)
        while waiting:
            at, text = waiting.popitem()
            for target in self.linked(text, at):
                page = self.page(target)
                if page in found or (target.startswith(_DOCS) and target.endswith(_OWN)):
                    continue
                if (self.root / target).is_dir():
                    if page.startswith("source/"):
                        listing, at_listing = self._listing(target), f"{target}/index"
                        found[page] = self.relinked(listing, at_listing)
                        waiting[at_listing] = listing
                    continue
                text_there = (self.root / target).read_text(encoding="utf-8")
                if target.endswith(".md"):
                    found[page] = self.relinked(text_there, target)
                    waiting[target] = text_there
                elif not target.endswith(".ipynb"):
                    found[page] = _source(target, text_there)
        return found

    def _target(self, link: str, at: str) -> str | None:
        """The file or folder that a link of a document leads to; None where it is not ours."""
        if _ABROAD.match(link):
            return None
        path = posixpath.normpath(posixpath.join(posixpath.dirname(at), link))
        exists = not path.startswith("..") and (self.root / path).exists()
        return path if exists else None

    def _listing(self, folder: str) -> str:
        names = sorted(each.name for each in (self.root / folder).iterdir() if each.is_file())
        lines = "\n".join(f"- [{name}]({name})" for name in names)
        return _unsearched(f"# {folder}\n\n{lines}\n")


def _source(path: str, text: str) -> str:
    language = _LANGUAGES.get(posixpath.splitext(path)[1], "text")
    return _unsearched(
        f"# {posixpath.basename(path)}\n\n`{path}`\n\n````{language}\n{text}\n````\n"
    )


def _unsearched(text: str) -> str:
    return f"---\nsearch: {{exclude: true}}\n---\n\n{text}"
