"""Small files that are there whole, in their former or their new state."""

from __future__ import annotations

import os
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Give a file another content in one step, which also survives a power cut."""
    if not isinstance(path, Path):
        # Of a store: an object is put whole or not at all.
        path.write_text(text, encoding="utf-8")
        return
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(path)
