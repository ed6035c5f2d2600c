"""The fenced blocks of a page of the docs, for tests that execute the page."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BLOCK = re.compile(r"^```(\w+)[ \t]*([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block; `does` is what stands behind the language: file=…, append=… or output."""

    language: str
    does: str
    text: str


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page, from top to bottom."""
    return [Block(*found) for found in _BLOCK.findall(page)]
