-- Rebuilt each run: with another business date other sales count, and no news tells which.
{{ config(materialized='table') }}

{%- set half_life_days = 56 %}

with sales as (

    select sale.*
    from {{ ref('fct_sale') }} as sale
    inner join {{ ref('int_business_date') }} as business_day
        on sale.sale_date <= business_day.business_date
    where not {{ is_nobody('sale.client_id') }}

),

-- A purchase is an order's; one handed over on two days counts on its first.
purchases as (

    select
        client_id,
        product_id,
        order_id,
        min(sale_date) as bought_date,
        max(sale_date) as last_date,
        sum(quantity) as quantity
    from sales
    group by client_id, product_id, order_id

),

dated as (

    select
        *,
        max(last_date) over (partition by client_id, product_id) as last_bought_date
    from purchases

),

final as (

    select
        client_id,
        product_id,
        last_bought_date as feature_date,
        cast(count(*) as bigint) as purchase_count,
        cast(sum(quantity) as bigint) as quantity,
        min(bought_date) as first_bought_date,
        last_bought_date,
        -- Each weight is rounded and their sum exact: the order of the rows does not show.
        cast(
            sum(
                cast(
                    round(
                        power(
                            cast(0.5 as double),
                            cast(
                                {{ dbt.datediff('bought_date', 'last_bought_date', 'day') }}
                                as double
                            ) / {{ half_life_days }}
                        ),
                        6
                    ) as decimal(9, 6)
                )
            ) as decimal(18, 6)
        ) as decayed_count
    from dated
    group by client_id, product_id, last_bought_date

)

select * from final
