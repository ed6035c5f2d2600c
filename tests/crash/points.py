"""Named points of a landing's commits, put into a process from outside: the product has none.

Delta writes data files and the commit that names them in one call. The points "in the … commit"
therefore watch the table's folder and strike when a data file has appeared that no commit names
yet; whether they struck in time is seen afterwards, by the orphaned file.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.cdc import dead_letters as letters_module
from pipelines.cdc import land as land_module
from pipelines.cdc.land import _TopicLander
from pipelines.cdc.ledger import Ledger

Strike = Callable[[], None]

BEFORE_DATA = "before the data"
IN_DATA = "in the data commit"
AFTER_DATA = "after the data"
IN_LETTERS = "in the dead-letter commit"
AFTER_LETTERS = "after the dead letters"
BEFORE_LEDGER = "before the ledger"
AFTER_LEDGER = "after the ledger"
BEFORE_FINISHED = "before the file is finished"
POINTS = (
    BEFORE_DATA, IN_DATA, AFTER_DATA, IN_LETTERS, AFTER_LETTERS, BEFORE_LEDGER, AFTER_LEDGER,
    BEFORE_FINISHED,
)  # fmt: skip


def install(point: str, hit: int, strike: Strike) -> None:
    """Let this process call `strike` when it comes to a point for the n-th time."""
    seen = 0

    def count() -> bool:
        nonlocal seen
        seen += 1
        return seen == hit

    def reached(*_: Any, **__: Any) -> None:
        if count():
            strike()

    {
        BEFORE_DATA: lambda: _wrap(_TopicLander, "_commit_data", before=reached),
        IN_DATA: lambda: _watch(land_module, count, strike),
        AFTER_DATA: lambda: _wrap(_TopicLander, "_commit_data", after=reached),
        IN_LETTERS: lambda: _watch(letters_module, count, strike),
        # Where a batch has no letters, there is no commit to come after.
        AFTER_LETTERS: lambda: _wrap(letters_module, "append", after=reached),
        BEFORE_LEDGER: lambda: _wrap(Ledger, "commit", before=_of_a_batch(reached)),
        AFTER_LEDGER: lambda: _wrap(Ledger, "commit", after=_of_a_batch(reached)),
        BEFORE_FINISHED: lambda: _wrap(_TopicLander, "_mark_finished", before=reached),
    }[point]()


def _nothing(*_: Any, **__: Any) -> None:
    pass


def _wrap(
    owner: Any,
    name: str,
    before: Callable[..., None] = _nothing,
    after: Callable[..., None] = _nothing,
) -> None:
    genuine = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        before(*args, **kwargs)
        result = genuine(*args, **kwargs)
        after(*args, **kwargs)
        return result

    setattr(owner, name, wrapped)


def _of_a_batch(reached: Callable[..., None]) -> Callable[..., None]:
    def only_batches(ledger: Ledger, rows: list[dict[str, Any]], *_: Any, **__: Any) -> None:
        if rows[0].get("batch_id"):
            reached()

    return only_batches


def _watch(module: Any, count: Callable[[], bool], strike: Strike) -> None:
    """Strike from a second thread as soon as `append` has written a data file."""
    genuine = module.append

    def watched(table: Any, *args: Any, **kwargs: Any) -> None:
        if not count():
            return genuine(table, *args, **kwargs)
        folder = Path(table.table_uri.removeprefix("file://"))
        before = _data_files(folder)

        def look() -> None:
            while _data_files(folder) <= before:
                pass
            strike()

        threading.Thread(target=look, daemon=True).start()
        return genuine(table, *args, **kwargs)

    module.append = watched


def _data_files(folder: Path) -> set[str]:
    """Names of the data files; one level of folders is enough to see that one has come."""
    found: set[str] = set()
    waiting = [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.name.endswith(".parquet"):
                    found.add(entry.name)
                elif "=" in entry.name:
                    waiting.append(entry.path)
    return found
