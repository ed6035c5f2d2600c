-- Rebuilt each run: a quintile is a place among all clients, and recency ages with every day.
{{ config(materialized='table') }}

with client_days as (

    select * from {{ ref('int_client_day_sales') }}

),

business_day as (

    select business_date from {{ ref('int_business_date') }}

),

clients as (

    select
        client_days.client_id,
        business_day.business_date,
        min(client_days.sale_date) as first_sale_date,
        max(client_days.sale_date) as last_sale_date,
        cast(sum(client_days.order_count) as bigint) as frequency,
        cast(sum(client_days.net_amount) as decimal(18, 2)) as monetary
    from client_days
    inner join business_day
        on client_days.sale_date <= business_day.business_date
    group by client_days.client_id, business_day.business_date

),

recencies as (

    select
        *,
        cast(
            {{ dbt.datediff('last_sale_date', 'business_date', 'day') }}
            as integer
        ) as recency_days
    from clients

),

-- Ties are broken by client_id, so that every run and every engine draws the same borders.
scores as (

    select
        *,
        cast(ntile(5) over (order by recency_days desc, client_id asc) as integer) as r_score,
        cast(ntile(5) over (order by frequency, client_id) as integer) as f_score,
        cast(ntile(5) over (order by monetary, client_id) as integer) as m_score
    from recencies

),

-- How often and how much, as one score: their mean, halves rounded up.
combined_scores as (

    select
        *,
        cast(floor(cast(f_score + m_score + 1 as double) / 2) as integer) as fm_score
    from scores

),

final as (

    select
        client_id,
        business_date,
        first_sale_date,
        last_sale_date,
        recency_days,
        frequency,
        monetary,
        r_score,
        f_score,
        m_score,
        fm_score,
        -- The grid of r (down: 5 to 1) and fm; each of its 25 cells falls to one branch.
        case
            when r_score >= 4 and fm_score >= 4 then 'Champions'
            when r_score = 3 and fm_score >= 4 then 'Loyal'
            when r_score >= 4 and fm_score >= 2 then 'Potential loyalists'
            when r_score = 5 then 'New'
            when r_score = 4 then 'Promising'
            when r_score = 3 and fm_score = 3 then 'Need attention'
            when r_score = 3 then 'About to sleep'
            when r_score = 1 and fm_score >= 4 then 'Cannot lose'
            when fm_score >= 3 then 'At risk'
            when r_score = 2 then 'Hibernating'
            else 'Lost'
        end as segment
    from combined_scores

)

select * from final
