"""Columns of queries, traced to the tables that they read."""

from __future__ import annotations

import pytest

from pipelines.lineage.columns import NotTraced, Origins, Traced, trace

SALES = "lake.staging.stg_sale"
DAYS = "lake.intermediate.int_business_date"
RELATIONS = {SALES: "staging.stg_sale", DAYS: "intermediate.int_business_date"}
SCHEMAS = {
    "staging.stg_sale": dict.fromkeys(["sale_id", "client_id", "net_amount", "sold_at"], "x"),
    "intermediate.int_business_date": {"business_date": "date"},
}


def traced(query: str, dialect: str = "duckdb") -> Traced:
    return trace(query, dialect, RELATIONS, SCHEMAS)


def of_sales(**ways: str) -> Origins:
    return {("staging.stg_sale", column): {way} for column, way in ways.items()}


@pytest.mark.parametrize("dialect", ["duckdb", "trino", "spark"])
def test_a_value_is_followed_through_stars_and_ctes(dialect: str) -> None:
    found = traced(
        f"""
        with sales as (select * from {SALES}),
        numbered as (select *, row_number() over (order by sale_id) as place from sales),
        final as (select client_id, cast(sum(net_amount) as decimal(18, 2)) as monetary
                  from numbered group by client_id)
        select * from final
        """,
        dialect,
    )
    assert found.columns == {
        "client_id": of_sales(client_id="IDENTITY"),
        "monetary": of_sales(net_amount="AGGREGATION"),
    }


def test_what_filters_joins_and_groups_is_no_origin_of_a_value() -> None:
    found = traced(
        f"""
        select sum(sale.net_amount) as total
        from {SALES} as sale
        inner join {DAYS} as days on cast(sale.sold_at as date) <= days.business_date
        where sale.sale_id > 0
        group by sale.client_id
        """
    )
    assert found.columns == {"total": of_sales(net_amount="AGGREGATION")}
    assert found.rows == {
        **of_sales(sale_id="FILTER", client_id="GROUP_BY", sold_at="JOIN"),
        ("intermediate.int_business_date", "business_date"): {"JOIN"},
    }


def test_a_window_and_a_condition_decide_but_give_no_value() -> None:
    found = traced(
        f"""
        select
            ntile(5) over (partition by client_id order by net_amount) as score,
            case when sold_at is null then 0 else net_amount end as known_amount,
            sum(net_amount) filter (where client_id > 0) as of_clients
        from {SALES}
        """
    )
    assert found.columns["score"] == of_sales(client_id="WINDOW", net_amount="WINDOW")
    assert found.columns["known_amount"] == of_sales(
        sold_at="CONDITIONAL", net_amount="TRANSFORMATION"
    )
    assert found.columns["of_clients"] == of_sales(client_id="FILTER", net_amount="AGGREGATION")


def test_both_sides_of_a_union_are_origins() -> None:
    found = traced(f"select sale_id as id from {SALES} union all select client_id + 1 from {SALES}")
    assert found.columns == {"id": of_sales(sale_id="IDENTITY", client_id="TRANSFORMATION")}


def test_a_scalar_subquery_gives_its_value_and_its_filter_only_decides() -> None:
    found = traced(
        f"select (select max(net_amount) from {SALES} where client_id = 1) as top from {DAYS}"
    )
    assert found.columns == {"top": of_sales(net_amount="AGGREGATION", client_id="FILTER")}


def test_a_function_that_makes_rows_passes_on_what_it_is_given() -> None:
    found = traced(
        f"""
        with days as (select business_date from {DAYS})
        select cast(series.day as date) as day from unnest(
            generate_series(date '2017-01-01', (select business_date from days), interval 1 day)
        ) as series (day)
        """
    )
    assert found.columns == {
        "day": {("intermediate.int_business_date", "business_date"): {"TRANSFORMATION"}}
    }


def test_a_delta_scan_is_the_raw_table_and_bookkeeping_is_passed_over() -> None:
    place = "delta_scan('/home/lake/raw/shop.public.sale')"
    found = trace(
        f"""
        with delivered as (
            select "sale_id", net_amount, _batch_id from {place}
            where _batch_id in (
                select token from "warehouse"."state"."consumption" where model = 'base_sale'
            )
        )
        select *, _batch_id in (select 1 from "warehouse"."state"."arrival") as _is_new
        from delivered
        """,
        "duckdb",
        {place: "raw.shop_public_sale"},
        {"raw.shop_public_sale": dict.fromkeys(["sale_id", "net_amount", "_batch_id"], "x")},
    )
    assert found.columns == {
        "sale_id": {("raw.shop_public_sale", "sale_id"): {"IDENTITY"}},
        "net_amount": {("raw.shop_public_sale", "net_amount"): {"IDENTITY"}},
        "_batch_id": {("raw.shop_public_sale", "_batch_id"): {"IDENTITY"}},
        "_is_new": {("raw.shop_public_sale", "_batch_id"): {"TRANSFORMATION"}},
    }
    assert found.rows == {("raw.shop_public_sale", "_batch_id"): {"FILTER"}}


def test_names_are_compared_without_case() -> None:
    found = trace(
        'select "SaleId" as id from lake.raw.t', "duckdb", {"lake.raw.t": "raw.t"},
        {"raw.t": {"SaleID": "bigint"}},
    )  # fmt: skip
    assert found.columns == {"id": {("raw.t", "saleid"): {"IDENTITY"}}}


def test_a_star_over_a_table_that_nobody_knows_is_told() -> None:
    with pytest.raises(NotTraced, match=r"the columns of `\w*\.?\*` are not known"):
        traced("select * from lake.elsewhere.table_of_somebody")


def test_sql_that_is_not_understood_is_told() -> None:
    with pytest.raises(NotTraced, match="Expecting"):
        traced("select ((( from nowhere")
