"""What no shop does by itself, and what capture has to bear all the same."""

from __future__ import annotations

from typing import Any

# Above every number of the shop, so that it never meets these rows.
_FIRST_ID = 900_000_000
_IDS_EACH = 10
_LARGE = "".join(chr(65 + n * n % 26) for n in range(10_000))
# That of the tables' first migration to come: the contract does not know it.
_NEW_COLUMN = "note"


def disturb(database: Any, number: int) -> None:
    """Five transactions: a large text, a changed key, two that swap, a truncate, a new column.

    Args:
        number: another one each time.
    """
    first, second, third, spare = (_FIRST_ID + number * _IDS_EACH + n for n in range(4))
    insert = "insert into public.transporter (transporter_id, name, mode, lead_time_days) "
    move = "update public.transporter set transporter_id = %s where transporter_id = %s"
    with database.transaction():
        database.execute(f"{insert} values (%s, 'small', 'van', 3)", [first])
        database.execute(f"{insert} values (%s, %s, 'van', 4)", [second, _LARGE])
    with database.transaction():
        database.execute(move, [third, first])
    with database.transaction():
        for new, old in ((spare, second), (second, third), (third, spare)):
            database.execute(move, [new, old])
    with database.transaction():
        database.execute("truncate public.promotion")
        database.execute(
            "insert into public.promotion values (%s, '2017-03-06', %s, %s)", [first, 2, 3]
        )
    with database.transaction():
        database.execute(f"alter table public.transporter add if not exists {_NEW_COLUMN} text")
        database.execute(
            f"update public.transporter set {_NEW_COLUMN} = 'disturbed' where transporter_id = %s",
            [second],
        )
