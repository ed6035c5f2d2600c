-- Monetary values add up to the sales up to the business date, and no buyer is missing.
with clients as (

    select
        count(*) as client_count,
        sum(monetary) as net_amount
    from {{ ref('mart_client_rfm') }}

),

sales as (

    select
        count(distinct sale.client_id) as client_count,
        sum(sale.net_amount) as net_amount
    from {{ ref('stg_sale') }} as sale
    inner join {{ ref('int_business_date') }} as business_day
        on {{ utc_date('sale.sold_at') }} <= business_day.business_date
    where not {{ is_nobody('sale.client_id') }}

)

{{ differing_rows('clients', 'sales') }}
