"""The one exception family that the command line turns into two lines: cause and remedy."""


class LakehouseError(Exception):
    """A failure that a person can act on.

    Args:
        cause: What went wrong, with the file, table, column or value concerned.
        remedy: What to do about it.
    """

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause, remedy)
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.cause} ({self.remedy})"


class UsageError(LakehouseError):
    """A request that cannot be right, whatever the state of the lake: exit code 2."""


class Unavailable(LakehouseError):
    """What is needed is away or taken for now: the same may succeed when it is tried again."""
