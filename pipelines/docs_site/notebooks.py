"""Notebooks as Markdown; they are kept without what they print."""

from __future__ import annotations

import json


def as_markdown(notebook: str) -> str:
    """The cells of a notebook, from top to bottom.

    Args:
        notebook: the text of an .ipynb file.
    """
    cells = json.loads(notebook)["cells"]
    return "\n\n".join(_cell(cell["cell_type"], "".join(cell["source"])) for cell in cells) + "\n"


def _cell(kind: str, source: str) -> str:
    return source if kind == "markdown" else f"```python\n{source}\n```"
