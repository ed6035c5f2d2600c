"""The chain as flows of Prefect: a module, a flow and a deployment each, all of one name.

A flow that finds no server would start one of its own, which takes longer than the chain: it is
refused instead.
"""

from __future__ import annotations

import os

os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
