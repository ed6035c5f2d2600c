"""How the command line prints: results to standard output, all else to standard error."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console

_PLAIN_WIDTH = 120
out = Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
err = Console(stderr=True)


def print_json(content: Any) -> None:
    """Print as JSON; not through rich, which would wrap long lines."""
    sys.stdout.write(json.dumps(content, indent=2, default=str) + "\n")
