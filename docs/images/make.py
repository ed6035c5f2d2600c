"""Draws docs/images/demo.svg: the summary that `lakehouse demo` prints, from the lake in ./lake."""

import io
import re
from pathlib import Path

from rich.console import Console

from pipelines.contract import load_contracts
from pipelines.demo import summary
from pipelines.lake.catalog import reader
from pipelines.lake.publish import read_manifest
from pipelines.settings import load_settings

settings = load_settings()
manifest = read_manifest(settings.published)
assert manifest is not None, "run `make demo` first"
console = Console(record=True, width=110, file=io.StringIO(), force_terminal=True)
with reader(settings, load_contracts(settings.project_dir)) as connection:
    summary.show(connection, manifest, console)
target = Path(__file__).with_name("demo.svg")
svg = console.export_svg(title="make demo")
# The picture must not load fonts from anywhere: any monospaced font of the reader's will do.
svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code,", "")
target.write_text(re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL), encoding="utf-8")
