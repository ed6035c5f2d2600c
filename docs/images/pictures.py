"""Draws docs/images/forecast.png and recommendation.png: what the notebooks show of ./lake.

A cell with the tag `picture:NAME` gives NAME.png. LAKEHOUSE_HOME names another lake; NOTEBOOK_TOP
and NOTEBOOK_TREES (200 and 150 here) say how much the forecast learns from.
"""

import base64
import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

here = Path(__file__).parent
os.environ.setdefault("NOTEBOOK_TOP", "200")
os.environ.setdefault("NOTEBOOK_TREES", "150")
for name in ("backtest", "recommendation"):
    path = here.parent / "notebooks" / f"{name}.ipynb"
    place = {"metadata": {"path": str(path.parent)}}
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=1200, kernel_name="python3", resources=place).execute()
    for cell in notebook.cells:
        for tag in cell.metadata.get("tags", []):
            _, _, picture = tag.partition("picture:")
            (shown,) = (
                o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})
            )
            (here / f"{picture}.png").write_bytes(base64.b64decode(shown))
