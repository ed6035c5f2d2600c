-- Rebuilt each run: with another business date other sales count, and no news tells which. The
-- published parts of months without news stay as they are.
{{ config(materialized='table') }}

with business_day as (

    select business_date from {{ ref('int_business_date') }}

),

sales as (

    select
        sale.client_id,
        sale.sale_date,
        sale.order_id,
        sale.product_id,
        sale.product_key,
        sale.quantity,
        sale.net_amount,
        sale.discount_amount
    from {{ ref('fct_sale') }} as sale
    inner join business_day
        on sale.sale_date <= business_day.business_date
    where not {{ is_nobody('sale.client_id') }}

),

product_versions as (

    select * from {{ ref('dim_product') }}

),

snapshot_days as (

    select
        dates.date_day,
        cast({{ dbt.dateadd('day', -84, 'dates.date_day') }} as date) as window_start_date
    from {{ ref('dim_date') }} as dates
    inner join business_day
        on dates.date_day <= business_day.business_date
    where dates.day_of_week = 7 or dates.date_day = business_day.business_date

),

client_days as (

    select
        client_id,
        sale_date,
        count(distinct order_id) as order_count,
        count(*) as line_count,
        sum(case when discount_amount > 0 then 1 else 0 end) as promoted_line_count,
        sum(quantity) as quantity,
        sum(net_amount) as net_amount
    from sales
    group by client_id, sale_date

),

first_purchases as (

    select
        client_id,
        product_id,
        min(sale_date) as sale_date
    from sales
    group by client_id, product_id

),

new_products as (

    select
        client_id,
        sale_date,
        count(*) as product_count
    from first_purchases
    group by client_id, sale_date

),

followed_days as (

    select
        *,
        lag(sale_date) over (partition by client_id order by sale_date) as previous_date
    from client_days

),

gaps as (

    select
        *,
        {{ dbt.datediff('previous_date', 'sale_date', 'day') }}
            as gap_days
    from followed_days

),

snapshots as (

    select
        gaps.client_id,
        snapshot_days.date_day as feature_date,
        {{ dbt.datediff('gaps.sale_date', 'snapshot_days.date_day', 'day') }}
            as age_days,
        gaps.order_count,
        gaps.line_count,
        gaps.promoted_line_count,
        gaps.quantity,
        gaps.net_amount,
        gaps.gap_days,
        new_products.product_count
    from gaps
    inner join snapshot_days
        on gaps.sale_date <= snapshot_days.date_day
    left join new_products
        on gaps.client_id = new_products.client_id
        and gaps.sale_date = new_products.sale_date

),

totals as (

    select
        client_id,
        feature_date,
        max(age_days) as tenure_days,
        min(age_days) as recency_days,
        sum(order_count) as order_count,
        sum(case when age_days < 28 then order_count else 0 end) as order_count_28d,
        sum(case when age_days < 84 then order_count else 0 end) as order_count_84d,
        sum(net_amount) as net_amount,
        sum(case when age_days < 28 then net_amount else 0 end) as net_amount_28d,
        sum(case when age_days < 84 then net_amount else 0 end) as net_amount_84d,
        sum(case when age_days < 84 then quantity else 0 end) as quantity_84d,
        sum(case when age_days < 84 then line_count else 0 end) as line_count_84d,
        sum(case when age_days < 84 then promoted_line_count else 0 end)
            as promoted_line_count_84d,
        count(gap_days) as gap_count,
        sum(cast(gap_days as bigint)) as gaps_summed,
        sum(cast(gap_days as bigint) * cast(gap_days as bigint)) as gaps_squared,
        sum(product_count) as product_count
    from snapshots
    group by client_id, feature_date

),

-- By the version of the product at the sale.
department_days as (

    select distinct
        sales.client_id,
        sales.sale_date,
        product_versions.department
    from sales
    inner join product_versions
        on sales.product_key = product_versions.product_key

),

departments as (

    select
        department_days.client_id,
        snapshot_days.date_day as feature_date,
        count(distinct department_days.department) as department_count_84d
    from department_days
    inner join snapshot_days
        on department_days.sale_date <= snapshot_days.date_day
        and department_days.sale_date > snapshot_days.window_start_date
    group by department_days.client_id, snapshot_days.date_day

),

final as (

    select
        totals.client_id,
        totals.feature_date,
        {{ month_start('totals.feature_date') }} as feature_month,
        cast(totals.tenure_days as integer) as tenure_days,
        cast(totals.recency_days as integer) as recency_days,
        cast(totals.order_count as bigint) as order_count,
        cast(totals.order_count_28d as bigint) as order_count_28d,
        cast(totals.order_count_84d as bigint) as order_count_84d,
        cast(totals.net_amount as decimal(18, 2)) as net_amount,
        cast(totals.net_amount_28d as decimal(18, 2)) as net_amount_28d,
        cast(totals.net_amount_84d as decimal(18, 2)) as net_amount_84d,
        cast(totals.quantity_84d as bigint) as quantity_84d,
        {{ ratio('totals.gaps_summed', 'totals.gap_count') }} as mean_gap_days,
        case
            when totals.gap_count >= 2
                then {{ deviation(
                    'totals.gap_count', 'totals.gaps_summed', 'totals.gaps_squared'
                ) }}
        end as gap_deviation_days,
        {{ ratio('totals.net_amount_84d', 'totals.order_count_84d') }} as mean_basket_amount_84d,
        {{ ratio('totals.line_count_84d', 'totals.order_count_84d') }} as mean_basket_lines_84d,
        cast(totals.product_count as bigint) as product_count,
        cast(coalesce(departments.department_count_84d, 0) as bigint) as department_count_84d,
        {{ ratio('totals.promoted_line_count_84d', 'totals.line_count_84d') }} as promo_share_84d
    from totals
    left join departments
        on totals.client_id = departments.client_id
        and totals.feature_date = departments.feature_date

)

select * from final
