"""What gates and lineage add to a run of the chain: with them and without, by turns."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from statistics import median

from bench.measure import Cost, lakehouse, python, table, wall_s

_ROUNDS = 3
_WITHOUT = "from bench.without_gates import main\nmain()\n"


def main() -> None:
    """Print the chain's seconds on the default demo. Goals: 15 % more; 10 s with nothing new."""
    folder = Path(tempfile.mkdtemp(prefix="bench-gates-"))
    try:
        inbox = folder / "inbox"
        lakehouse("shop", "capture", "--to", str(inbox), home=folder / "none")
        costs: dict[str, list[Cost]] = {"without": [], "with": [], "nothing new": []}
        for number in range(_ROUNDS):
            for what in ("without", "with"):
                home = folder / f"{what}-{number}"
                home.mkdir()
                (home / "inbox").symlink_to(inbox)
                costs[what].append(
                    lakehouse("run", home=home) if what == "with" else python(_WITHOUT, str(home))
                )
                if what == "with":
                    costs["nothing new"].append(lakehouse("run", home=home))
                shutil.rmtree(home)
        bare = median(cost.wall_s for cost in costs["without"])
        rows: list[list[object]] = [
            [f"lakehouse run, {what}", wall_s(each), median(c.cpu_s for c in each),
             f"{median(c.wall_s for c in each) / bare:.2f}", max(c.peak_mib for c in each)]
            for what, each in (
                ("without gates and lineage", costs["without"]),
                ("as it is", costs["with"]),
                ("nothing new", costs["nothing new"]),
            )
        ]  # fmt: skip
        table(
            "The chain on the default demo (500 clients), medians of three rounds in turn",
            ["what", "wall s", "CPU s", "against without", "peak MiB"],
            rows,
        )
    finally:
        shutil.rmtree(folder)
