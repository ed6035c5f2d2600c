"""Markdown as code hosts read it (CommonMark), rewritten for Python-Markdown, which MkDocs uses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_FENCE = re.compile(r"^(\s*)(```+|~~~+)([^\n`]*)$")
_ITEM = re.compile(r"^(\s*)([-*+]|\d{1,3}[.)])(\s+)(?=\S)")
# What a tutorial says of a block: the file that it is, or is added to.
_TOLD = re.compile(r"^\s*(\w+)\s+(?:(?:file|append)=(\S+)|.*)$")
_INDENT = 4


def adapted(text: str) -> str:
    """The same document for Python-Markdown.

    Lists need a blank line before them and four spaces a level, and of a fence only the language
    and a title are known.
    """
    lines: list[str] = []
    offsets: list[int] = []  # Where the content of each open list item begins.
    fence = ""
    for line in text.split("\n"):
        before = lines[-1] if lines else ""
        indent = len(line) - len(line.lstrip(" "))
        if fence:
            lines.append(_moved(line, offsets) if line.strip() else "")
            fence = "" if line.strip() == fence else fence
            continue
        if not line.strip():
            lines.append("")
            continue
        item = _ITEM.match(line)
        if item or not before:
            while offsets and indent < offsets[-1]:
                offsets.pop()
        if item:
            if before and not offsets and not _ITEM.match(before) and not before.startswith(" "):
                lines.append("")
            lines.append(" " * _INDENT * len(offsets) + line[indent:])
            offsets.append(item.end())
            continue
        if found := _FENCE.match(line):
            fence, line = found[2], f"{found[1]}{found[2]}{_information(found[3])}"
        lines.append(_moved(line, offsets))
    return "\n".join(lines)


def replaced_outside_code(text: str, pattern: re.Pattern[str], by: Callable[..., str]) -> str:
    """Replace what a pattern finds, but leave fenced blocks and inline code as they are."""
    return "".join(
        part if is_code else pattern.sub(by, part) for is_code, part in _split_by_code(text)
    )


def _split_by_code(text: str) -> Iterator[tuple[bool, str]]:
    code = re.compile(
        r"^[ ]*(```+|~~~+)[^\n]*\n.*?^[ ]*\1[ ]*$|(`+)(?!`).+?(?<!`)\2(?!`)",
        re.MULTILINE | re.DOTALL,
    )
    end = 0
    for found in code.finditer(text):
        yield False, text[end : found.start()]
        yield True, found.group()
        end = found.end()
    yield False, text[end:]


def _moved(line: str, offsets: list[int]) -> str:
    """A line of an item, as far in as its item now is."""
    if not offsets:
        return line
    indent = len(line) - len(line.lstrip(" "))
    return " " * (_INDENT * len(offsets) + max(0, indent - offsets[-1])) + line[indent:]


def _information(told: str) -> str:
    found = _TOLD.match(told)
    if found is None:
        return told.strip()
    return f'{found[1]} title="{found[2]}"' if found[2] else found[1]
