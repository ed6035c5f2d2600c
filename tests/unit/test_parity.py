"""What the comparison of engines takes for the same, and what it tells of a difference."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tests.stack.parity import Difference, Rows, first_difference

AT = datetime(2017, 1, 1, tzinfo=UTC)
ONE = (1, "a", Decimal("1.00"), AT, 0.1)


def differing(left: Rows, right: Rows) -> Difference | None:
    return first_difference("marts.x", ("duckdb", left), ("spark", right))


@pytest.mark.parametrize(
    ("other", "columns"),
    [
        ((1, "a", Decimal("1.01"), AT, 0.1), ["amount"]),
        ((1, "b", Decimal("1.00"), AT.replace(microsecond=1000), 0.1), ["name", "at"]),
        ((1, "a", Decimal("1.00"), AT, 0.1 + 1e-6), ["share"]),
        ((1, None, Decimal("1.00"), AT, 0.1), ["name"]),
    ],
)
def test_the_comparison_names_what_differs(other: tuple[object, ...], columns: list[str]) -> None:
    names = ["id", "name", "amount", "at", "share"]
    two = (2, *ONE[1:])
    found = differing((names, [two, ONE]), (names, [other, two]))
    assert found is not None
    assert (found.model, found.columns) == ("marts.x", columns)
    assert (found.rows["duckdb"] or {})["id"] == 1
    assert "spark" in str(found)


def test_the_comparison_takes_order_scale_and_last_digits_for_the_same() -> None:
    names = ["id", "name", "amount", "at", "share"]
    like_one = (1, "a", Decimal("1.0000"), AT.replace(tzinfo=None, microsecond=999), 0.1 + 1e-12)
    two = (2, *ONE[1:])
    assert differing((names, [ONE, two]), (names, [two, like_one])) is None


def test_the_comparison_names_a_row_that_is_missing() -> None:
    assert differing((["id"], [(1,), (1,)]), (["id"], [(1,)])) == Difference(
        "marts.x", [], {"duckdb": {"id": 1}, "spark": None}
    )
    assert differing((["id"], []), (["id"], [(1,)])) == Difference(
        "marts.x", [], {"duckdb": None, "spark": {"id": 1}}
    )
