"""Eleven ways to break the promise, each of which named cases must notice.

    python -m tests.conformance.mutations

Each mutation is made in a copy of the repository, never here.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
COPIED = ("pipelines", "dbt_project", "tests", "pyproject.toml")


@dataclass(frozen=True)
class Mutation:
    """A text in a file, what takes its place, and the cases that must turn red."""

    name: str
    file: str
    old: str
    new: str
    red: tuple[str, ...]


STAGING = "dbt_project/macros/staging"
MUTATIONS = [
    Mutation(
        "order by time instead of position",
        f"{STAGING}/delivered.sql",
        "        lpad(cast(_epoch as {{ text_type() }}), 10, '0'), '.',\n"
        "        coalesce(_source_position, ''), '.',\n",
        "        lpad(cast(_source_ts_us as varchar), 20, '0'), '.',\n",
        ("18-clock-backwards", "43-snapshot-of-a-new-epoch"),
    ),
    Mutation(
        "skip what is below the table's highest position",
        f"{STAGING}/fold_current.sql",
        "    where met._order_key is null or news._order_key > met._order_key\n",
        "    where news._order_key > (select max(_order_key) from {{ this }})\n",
        ("39-late-truncate", "42-incremental-snapshot"),
    ),
    Mutation(
        "drop the dead instead of keeping them",
        f"{STAGING}/fold_current.sql",
        "    from {{ 'resolved' if toast else 'changed' }}\n",
        "    from {{ 'resolved' if toast else 'changed' }}\n    where _op <> 'd'\n",
        ("07-delete-before-create", "16-late-update-after-delete"),
    ),
    Mutation(
        "dedupe by offset instead of identity",
        f"{STAGING}/change_log.sql",
        "{%- set identity = key + ['_change_position', '_op'] -%}",
        "{%- set identity = key + ['_order_key', '_op'] -%}",
        ("10-duplicate-in-a-batch", "11-duplicate-days-apart"),
    ),
    Mutation(
        "ignore epochs",
        f"{STAGING}/delivered.sql",
        "        lpad(cast(_epoch as {{ text_type() }}), 10, '0'), '.',\n",
        "        '0000000000', '.',\n",
        ("43-snapshot-of-a-new-epoch", "43-incomplete-snapshot"),
    ),
    Mutation(
        "prune without the end of the snapshot",
        f"{STAGING}/delivered.sql",
        "        and _snapshot in ('last', 'last_in_data_collection')\n",
        "",
        ("43-incomplete-snapshot",),
    ),
    Mutation(
        "forget which values were unavailable",
        "pipelines/cdc/decode.py",
        "        {unavailable_names(table)} as _unavailable, extra as _extra,\n",
        "        []::varchar[] as _unavailable, extra as _extra,\n",
        ("29-toast", "30-toast-across-batches-and-late"),
    ),
    Mutation(
        "keep the value of the last event, not of the last that brought one",
        f"{STAGING}/delivered.sql",
        "(_op in ('c', 'u', 'r') and not {{ is_listed('_unavailable', column) }})",
        "(_op in ('c', 'u', 'r'))",
        ("29-toast", "30-toast-across-batches-and-late"),
    ),
    Mutation(
        "forget former keys",
        "pipelines/cdc/columns.py",
        "    whole = \"op = 'c' and former_key_text is not null\"\n",
        '    whole = "false"\n',
        ("24-key-change-read-in-the-wrong-order", "30-toast-across-a-key-change"),
    ),
    Mutation(
        "compare binlog files as text",
        "pipelines/cdc/positions.py",
        "    file = _number(f\"regexp_extract({source}.file, '([0-9]+)$', 1)\")\n",
        '    file = f"{source}.file"\n',
        ("52-mariadb",),
    ),
    Mutation(
        "ignore late truncates",
        f"{STAGING}/fold_current.sql",
        "        or _order_key < coalesce((select max(_order_key) from truncation), '')"
        " as _is_deleted,",
        "        as _is_deleted,",
        ("38-truncate", "39-late-truncate"),
    ),
]


def survives(mutation: Mutation) -> bool:
    """Whether any of the named cases stays green in a copy that has the mutation."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        copy = Path(folder)
        for name in COPIED:
            source = REPOSITORY / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "target", "logs")
                shutil.copytree(source, copy / name, ignore=ignored)
            else:
                shutil.copy(source, copy)
        file = copy / mutation.file
        text = file.read_text()
        if text.count(mutation.old) != 1:
            sys.exit(f"{mutation.name}: {mutation.file} does not hold its text exactly once")
        file.write_text(text.replace(mutation.old, mutation.new))
        red = " or ".join(f"{case}-told" for case in mutation.red)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
             "tests/conformance/test_conformance.py", "-k", red],
            cwd=copy, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(copy),
                           "LAKEHOUSE_CONFORMANCE_CASES": ",".join(mutation.red)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        failed = done.stdout.count("FAILED ")
        print(f"{'killed  ' if failed == len(mutation.red) else 'SURVIVED'} {mutation.name}: "
              f"{failed} of {len(mutation.red)} named cases red", flush=True)  # fmt: skip
        if failed != len(mutation.red):
            print(done.stdout[-3000:])
        return failed != len(mutation.red)


if __name__ == "__main__":
    survivors = [mutation.name for mutation in MUTATIONS if survives(mutation)]
    sys.exit(f"survived: {', '.join(survivors)}" if survivors else 0)
