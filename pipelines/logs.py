"""Logs: JSON on standard error when nobody watches; on a terminal the progress lines suffice."""

from __future__ import annotations

import logging
import sys

import structlog


def configure(arguments: list[str]) -> None:
    """Set up structlog for this process; `--debug` shows every line on a terminal, too."""
    watched = sys.stderr.isatty()
    level = logging.WARNING if watched and "--debug" not in arguments else logging.INFO
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer() if watched else structlog.processors.JSONRenderer()
    )
    # Tells of a missing keyring at every start, and sets its level itself.
    logging.getLogger("trino.auth").addFilter(lambda record: record.levelno >= logging.WARNING)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
