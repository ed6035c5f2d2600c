"""How the tests are shared out among processes: what uses one costly fixture stays together."""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("xdist_group"):
            continue
        uses_demo = "demo" in getattr(item, "fixturenames", ())
        item.add_marker(
            pytest.mark.xdist_group("demo" if uses_demo else item.nodeid.split("::")[0])
        )
