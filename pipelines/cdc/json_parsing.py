"""SQL that parses JSON into structs: a fast way, and one that bad texts do not hold up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from pipelines.lake.sql import literal

# Of SQL that gives a text and the fields wanted (name → type or fields), SQL of the struct.
Parse = Callable[[str, Mapping[str, object]], str]


def trusting(text: str, fields: Mapping[str, object]) -> str:
    """Parse once; the statement fails where a text is no JSON."""
    return f"json_transform({text}, {literal(json.dumps(fields))})"


def checking(text: str, fields: Mapping[str, object]) -> str:
    """Parse what is JSON, at the price of looking at it twice; NULL for what is not.

    `try` alone would do as well, but takes the 2,048 texts around a bad one one by one: with one
    bad text in a hundred, decoding takes twice as long.
    """
    return f"case when json_valid({text}) then try({trusting(text, fields)}) end"
