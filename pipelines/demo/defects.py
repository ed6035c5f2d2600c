"""Sales spoiled on purpose: they land, and break a rule that the gate on staging holds."""

from __future__ import annotations

from pathlib import Path

import duckdb

from pipelines.demo.tables import TABLES

# What is done to a sale, by its lot; each breaks a rule of `expectations/staging/stg_sale.yml`.
_SPOILED = {
    "negative quantity": {"quantity": "-quantity - 1"},
    "negative amounts": {
        "gross_amount": "-gross_amount - 1", "net_amount": "-gross_amount - 1 - discount_amount"
    },
    "net amount that does not add up": {"net_amount": "net_amount + 10"},
    "date of the next century": {"sold_at": "sold_at + to_years(100)"},
}  # fmt: skip


def spoil(con: duckdb.DuckDBPyConnection, share: float) -> None:
    """Spoil about that share of the sales; the same ones each time, and more for a larger share.

    Sales that are posted by mistake are left out: they are voided later, spoiled or not.

    Args:
        share: above 0, at most 1.
    """
    con.execute(f"""
        create table defect as
        select sale_id, ['{"', '".join(_SPOILED)}'][
            1 + (md5_number('defect' || sale_id) % {len(_SPOILED)})::integer] as defect
        from ev_sale
        where sale_id < 9000000000
            and (md5_number('spoil' || sale_id) % 1000000)::integer < {share * 1_000_000}
    """)
    for defect, values in _SPOILED.items():
        told = ", ".join(f"{name} = {sql}" for name, sql in values.items())
        con.execute(
            f"update ev_sale set {told} "
            f"where sale_id in (select sale_id from defect where defect = '{defect}')"
        )


def write_list(con: duckdb.DuckDBPyConnection, path: Path, from_us: int, until_us: int) -> None:
    """Write a CSV of the spoiled sales of a slice: table_name, key, defect."""
    number = next(n for n, table in enumerate(TABLES) if table.name == "sale")
    place = str(path).replace("'", "''")
    con.execute(f"""
        copy (
            select 'sale' as table_name, sale_id as key, defect
            from defect join ev_sale e using (sale_id)
            join log l on l.entry = e.rowid and l.tbl = {number}
            where l.at_us >= {from_us} and l.at_us < {until_us}
            order by sale_id
        ) to '{place}' (format csv, header)
    """)
