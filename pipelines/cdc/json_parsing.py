"""SQL that parses JSON texts into structs: a quick way, and one that no bad text holds up.

`try` around a parser would do as well, but takes the 2,048 texts around a bad one one by one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Protocol

from pipelines.lake.sql import literal

# Field → type or fields of its own.
Fields = Mapping[str, object]


class Parse(Protocol):
    """A way to parse."""

    def struct(self, text: str, fields: Fields) -> str:
        """SQL of a struct with these fields of a JSON object; NULL where it is not read."""

    def is_missed(self, text: str) -> str:
        """SQL: whether a text was not read although it is JSON."""


class Trusting:
    """Reads what begins and ends like an object, which texts that were cut off do not.

    The statement fails where such a text is no JSON after all.
    """

    def struct(self, text: str, fields: Fields) -> str:
        return _transform(f"case when {_looks_like_object(text)} then {text} end", fields)

    def is_missed(self, text: str) -> str:
        return f"(not {_looks_like_object(text)} and json_valid({text}))"


class Checking:
    """Looks at each text before it is read: every text is parsed twice."""

    def struct(self, text: str, fields: Fields) -> str:
        return f"try({_transform(f'case when json_valid({text}) then {text} end', fields)})"

    def is_missed(self, text: str) -> str:
        return "false"


def struct_of_json(text: str, fields: Fields) -> str:
    """SQL of a struct with these fields of what is known to be JSON; NULL of NULL."""
    return _transform(text, fields)


def _looks_like_object(text: str) -> str:
    # The lines of a file come with their ends.
    ends = " or ".join(f"ends_with({text}, {literal(end)})" for end in ("}", "}\n", "}\r\n"))
    return f"(starts_with({text}, '{{') and ({ends}))"


def _transform(text: str, fields: Fields) -> str:
    return f"json_transform({text}, {literal(json.dumps(fields))})"
