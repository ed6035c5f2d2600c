"""`python -m bench [NAME]...`: prints the tables of docs/benchmarks.md."""

from __future__ import annotations

import sys

from bench import land, line, maintain, stage

BENCHES = {
    "land": land.main,
    "line": line.main,
    "all-clients": line.all_clients,
    "maintain": maintain.main,
    "stage": stage.main,
}


def main() -> int:
    chosen = sys.argv[1:] or ["land", "line"]
    unknown = [name for name in chosen if name not in BENCHES]
    if unknown:
        print(f"unknown bench {unknown[0]}; there are: {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    for name in chosen:
        BENCHES[name]()
    return 0


sys.exit(main())
