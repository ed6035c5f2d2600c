{%- set upstreams = ['int_product_day_sales', 'fct_promotion_week', 'fct_inventory_snapshot'] %}

{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook=[
        "{{ open_increment(" ~ upstreams ~ ") }}",
        "{{ replace_scope(is_no_feature_day_yet(), 'feature_date') }}",
        "{{ replace_scope(is_not_learnable(), 'product_id') }}",
        "{{ replace_scope(is_outdated_product_day(), ['product_id', 'feature_date']) }}",
    ],
    post_hook="{{ close_increment() }}"
) }}

with business_day as (

    select business_date from {{ ref('int_business_date') }}

),

learnable as (

    {{ learnable_products() }}

),

sales as (

    select sold.*
    from {{ ref('int_product_day_sales') }} as sold
    inner join learnable
        on sold.product_id = learnable.product_id
    where
        sold.line_count > 0
        and sold.sale_date <= (select business_day.business_date from business_day)

),

promotion_days as (

    {{ promotion_days() }}

),

stock_days as (

    {{ stock_days() }}

),

dates as (

    select * from {{ ref('dim_date') }}

),

first_days as (

    select
        product_id,
        min(sale_date) as first_date
    from sales
    group by product_id

),

-- What the hooks left of this table; nothing at first.
last_kept as (

    {% if is_incremental() %}
        select
            product_id,
            max(feature_date) as last_date
        from {{ this }}
        group by product_id
    {% else %}
        select
            product_id,
            first_date as last_date
        from first_days
        where false
    {% endif %}

),

-- Where each product goes on, and the days before that its windows look back to.
spans as (

    select
        first_days.product_id,
        coalesce(
            cast({{ dbt.dateadd('day', 1, 'last_kept.last_date') }} as date),
            first_days.first_date
        ) as start_date,
        greatest(
            first_days.first_date,
            coalesce(
                cast({{ dbt.dateadd('day', -54, 'last_kept.last_date') }} as date),
                first_days.first_date
            )
        ) as look_back_date
    from first_days
    left join last_kept
        on first_days.product_id = last_kept.product_id

),

open_spans as (

    select spans.*
    from spans
    inner join business_day
        on spans.start_date <= business_day.business_date

),

-- Never an empty range, which some engines refuse.
calendar as (

    {{ days_between(
        '(select coalesce(min(open_spans.look_back_date), max(business_day.business_date))
          from business_day left join open_spans on true)',
        '(select business_date from business_day)'
    ) }}

),

days as (

    select
        open_spans.product_id,
        open_spans.start_date,
        calendar.date_day
    from open_spans
    inner join calendar
        on open_spans.look_back_date <= calendar.date_day

),

-- A window may begin after the last sale before it.
last_sales as (

    select
        open_spans.product_id,
        max(sales.sale_date) as last_sale_date
    from open_spans
    inner join sales
        on open_spans.product_id = sales.product_id
        and open_spans.look_back_date > sales.sale_date
    group by open_spans.product_id

),

product_days as (

    select
        days.product_id,
        days.start_date,
        days.date_day,
        coalesce(sales.sale_date, last_sales.last_sale_date) as sale_date,
        coalesce(sales.quantity, 0) as quantity,
        coalesce(sales.net_amount, 0) as net_amount,
        coalesce(sales.discount_amount, 0) as discount_amount
    from days
    left join sales
        on days.product_id = sales.product_id
        and days.date_day = sales.sale_date
    left join last_sales
        on days.product_id = last_sales.product_id

),

windowed as (

    select
        *,
        lag(quantity, 1) over (partition by product_id order by date_day) as quantity_lag_1,
        lag(quantity, 7) over (partition by product_id order by date_day) as quantity_lag_7,
        lag(quantity, 14) over (partition by product_id order by date_day) as quantity_lag_14,
        lag(quantity, 28) over (partition by product_id order by date_day) as quantity_lag_28,
        count(*) over ({{ last_days(7) }}) as days_in_7,
        count(*) over ({{ last_days(28) }}) as days_in_28,
        count(*) over ({{ last_days(56) }}) as days_in_56,
        sum(quantity) over ({{ last_days(7) }}) as sold_in_7,
        sum(quantity) over ({{ last_days(28) }}) as sold_in_28,
        sum(quantity) over ({{ last_days(56) }}) as sold_in_56,
        sum(quantity * quantity) over ({{ last_days(28) }}) as squares_in_28,
        sum(net_amount + discount_amount) over ({{ last_days(28) }}) as shelf_amount_in_28,
        sum(discount_amount) over ({{ last_days(28) }}) as discount_in_28,
        max(sale_date) over (
            partition by product_id order by date_day
            rows between unbounded preceding and current row
        ) as last_sale_date
    from product_days

),

final as (

    select
        windowed.product_id,
        windowed.date_day as feature_date,
        {{ month_start('windowed.date_day') }} as feature_month,
        cast(windowed.quantity as bigint) as quantity,
        cast(windowed.net_amount as decimal(18, 2)) as net_amount,
        cast(windowed.discount_amount as decimal(18, 2)) as discount_amount,
        cast(coalesce(promotion_days.stores_on_display, 0) as bigint) as stores_on_display,
        cast(coalesce(promotion_days.stores_in_mailer, 0) as bigint) as stores_in_mailer,
        coalesce(stock_days.is_stock_out, false) as is_stock_out,
        cast(windowed.quantity_lag_1 as bigint) as quantity_lag_1,
        cast(windowed.quantity_lag_7 as bigint) as quantity_lag_7,
        cast(windowed.quantity_lag_14 as bigint) as quantity_lag_14,
        cast(windowed.quantity_lag_28 as bigint) as quantity_lag_28,
        {{ ratio('windowed.sold_in_7', 'windowed.days_in_7') }} as quantity_mean_7,
        {{ ratio('windowed.sold_in_28', 'windowed.days_in_28') }} as quantity_mean_28,
        {{ ratio('windowed.sold_in_56', 'windowed.days_in_56') }}
            as quantity_mean_56,
        {{ deviation(
            'windowed.days_in_28', 'windowed.sold_in_28', 'windowed.squares_in_28'
        ) }} as quantity_deviation_28,
        {{ ratio('windowed.shelf_amount_in_28', 'windowed.sold_in_28') }} as unit_price_28,
        {{ ratio('windowed.discount_in_28', 'windowed.shelf_amount_in_28') }}
            as discount_depth_28,
        cast(
            {{ dbt.datediff('windowed.last_sale_date', 'windowed.date_day', 'day') }}
            as integer
        ) as days_since_sale,
        dates.day_of_week as weekday,
        dates.is_weekend,
        dates.iso_week as week_of_year,
        dates.days_to_holiday,
        dates.days_since_holiday
    from windowed
    left join promotion_days
        on windowed.product_id = promotion_days.product_id
        and windowed.date_day = promotion_days.date_day
    left join stock_days
        on windowed.product_id = stock_days.product_id
        and windowed.date_day = stock_days.date_day
    left join dates
        on windowed.date_day = dates.date_day
    where windowed.date_day >= windowed.start_date

)

select * from final
