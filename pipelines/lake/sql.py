"""How names and texts are written in SQL."""


def identifier(name: str) -> str:
    """A name in double quotes, so that it may be a reserved word."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text in single quotes."""
    return "'" + text.replace("'", "''") + "'"
