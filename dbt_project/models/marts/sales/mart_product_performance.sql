-- Rebuilt each run: a rank and a share are a place among all products, and the windows move.
{{ config(materialized='table') }}

with sales as (

    select * from {{ ref('fct_sale') }}

),

business_day as (

    select
        business_date,
        cast({{ dbt.dateadd('day', -28, 'business_date') }} as date) as last_window_date,
        cast({{ dbt.dateadd('day', -56, 'business_date') }} as date) as previous_window_date
    from {{ ref('int_business_date') }}

),

products as (

    select
        sales.product_id,
        business_day.business_date,
        sum(sales.quantity) as quantity,
        sum(sales.net_amount) as net_amount,
        -- Realisation compares like with like: sales whose list price is known.
        sum(case when sales.list_price is not null then sales.net_amount end)
            as comparable_net_amount,
        sum(sales.list_price * sales.quantity) as list_amount,
        sum(
            case
                when sales.sale_date > business_day.last_window_date then sales.net_amount
                else 0
            end
        ) as net_last_28_days,
        sum(
            case
                when
                    sales.sale_date > business_day.previous_window_date
                    and sales.sale_date <= business_day.last_window_date
                    then sales.net_amount
                else 0
            end
        ) as net_previous_28_days
    from sales
    inner join business_day
        on sales.sale_date <= business_day.business_date
    group by sales.product_id, business_day.business_date

),

ranked as (

    select
        *,
        row_number() over (order by net_amount desc, product_id asc) as revenue_rank,
        sum(net_amount) over (
            order by net_amount desc, product_id asc
            rows between unbounded preceding and current row
        ) as cumulative_net_amount,
        sum(net_amount) over () as total_net_amount
    from products

),

final as (

    select
        product_id,
        business_date,
        cast(quantity as bigint) as quantity,
        cast(net_amount as decimal(18, 2)) as net_amount,
        cast(list_amount as decimal(18, 2)) as list_amount,
        {{ ratio('comparable_net_amount', 'list_amount') }} as price_realisation,
        cast(revenue_rank as bigint) as revenue_rank,
        {{ ratio('cumulative_net_amount', 'total_net_amount') }} as cumulative_share,
        -- On the exact amounts: a rounded share would move the borders.
        case
            when cumulative_net_amount * 100 <= total_net_amount * 80 then 'A'
            when cumulative_net_amount * 100 <= total_net_amount * 95 then 'B'
            else 'C'
        end as abc_class,
        cast(net_last_28_days as decimal(18, 2)) as net_last_28_days,
        cast(net_previous_28_days as decimal(18, 2)) as net_previous_28_days,
        {{ ratio('net_last_28_days - net_previous_28_days', 'net_previous_28_days') }}
            as revenue_trend
    from ranked

)

select * from final
