"""Draws docs/images/forecast.png and recommendation.png: what the notebooks show of the whole shop.

First `make demo ARGS="--clients all --no-models"`; LAKEHOUSE_HOME names another lake than ./lake. A
cell with the tag `picture:NAME` gives NAME.png.
"""

import base64
import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

here = Path(__file__).parent
os.environ.setdefault("NOTEBOOK_TOP", "1000")
os.environ.setdefault("NOTEBOOK_TREES", "300")
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
