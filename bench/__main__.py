"""`python -m bench [NAME]...`: prints the tables of docs/benchmarks.md.

NAME is one of `BENCHES`; `land line` without any. Each docstring names the environment variables
that ask for less than the full size.
"""

from __future__ import annotations

import signal
import sys

from bench import (
    batches,
    churn,
    dashboards,
    engines,
    feast,
    flows,
    follow,
    forecast,
    freshness,
    gates,
    hot,
    land,
    line,
    loop,
    maintain,
    poison,
    recommend,
    spark,
    stage,
)

BENCHES = {
    "batches": batches.main,
    "churn": churn.main,
    "dashboards": dashboards.main,
    "engines": engines.main,
    "feast": feast.main,
    "flows": flows.main,
    "follow": follow.main,
    "forecast": forecast.main,
    "freshness": freshness.main,
    "gates": gates.main,
    "hot": hot.main,
    "land": land.main,
    "line": line.main,
    "loop": loop.main,
    "all-clients": line.all_clients,
    "maintain": maintain.main,
    "poison": poison.main,
    "recommend": recommend.main,
    "spark": spark.main,
    "stage": stage.main,
}


def main() -> int:
    chosen = sys.argv[1:] or ["land", "line"]
    unknown = [name for name in chosen if name not in BENCHES]
    if unknown:
        print(f"unknown bench {unknown[0]}; there are: {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    # As with Ctrl-C: a bench that is ended must not leave its servers behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for name in chosen:
        BENCHES[name]()
    return 0


sys.exit(main())
