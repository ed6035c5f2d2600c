"""How the command line prints: results to standard output, all else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.markup import escape

from pipelines import logs
from pipelines.errors import LakehouseError, UsageError

_PLAIN_WIDTH = 120
out = Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
err = Console(stderr=True)


def print_json(content: Any) -> None:
    """Print as JSON; not through rich, which would wrap long lines."""
    sys.stdout.write(json.dumps(content, indent=2, default=str) + "\n")


def call(app: Callable[[], object]) -> None:
    """Run a command line; errors that a person can act on become two lines and an exit code."""
    debug = "--debug" in sys.argv
    try:
        logs.configure(sys.argv)
        app()
    except LakehouseError as error:
        if debug:
            raise
        # What stands in brackets, as in package[extra], is no markup.
        cause, remedy = escape(error.cause), escape(error.remedy)
        err.print(f"[bold red]error:[/] {cause}", highlight=False, soft_wrap=True)
        err.print(f"[bold]remedy:[/] {remedy}", highlight=False, soft_wrap=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)
