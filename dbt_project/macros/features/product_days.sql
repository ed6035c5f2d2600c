{#- Products with enough of a past to learn from: they sold on so many days up to the business date.
    A scan of all product days, for the business date may have gone back. -#}
{% macro learnable_products() -%}
    select sold.product_id
    from {{ ref('int_product_day_sales') }} as sold
    inner join {{ ref('int_business_date') }} as business_day
        on sold.sale_date <= business_day.business_date
    where sold.line_count > 0
    group by sold.product_id
    having count(*) >= {{ var('feature_least_selling_days') }}
{%- endmacro %}


{# The business date may have been set back. #}
{% macro is_no_feature_day_yet() -%}
    feature_date > (select business_date from {{ ref('int_business_date') }})
{%- endmacro %}


{# Sales may be gone, or not be there yet. #}
{% macro is_not_learnable() -%}
    product_id not in ({{ learnable_products() }})
{%- endmacro %}


{# The promotion plan of a week, for each of its days. #}
{% macro promotion_days() -%}
    select
        promotion.product_id,
        dates.date_day,
        promotion.stores_on_display,
        promotion.stores_in_mailer
    from {{ ref('fct_promotion_week') }} as promotion
    inner join {{ ref('dim_date') }} as dates
        on promotion.week_start_date = dates.week_start_date
{%- endmacro %}


{# The days that each product with managed stock began, with whether no warehouse had any. #}
{% macro stock_days() -%}
    select
        product_id,
        cast({{ dbt.dateadd('day', 1, 'snapshot_date') }} as date) as date_day,
        max(on_hand) <= 0 as is_stock_out
    from {{ ref('fct_inventory_snapshot') }}
    group by product_id, snapshot_date
{%- endmacro %}


{#- Rows from the first day on which a product's past is another than it was: its sales have news, or
    the plan or the stock of a touched day is not what the row says. -#}
{% macro is_outdated_product_day() -%}
    (product_id, feature_date) in (
        select kept.product_id, kept.feature_date
        from {{ this }} as kept
        inner join (
            select product_id, min(touched_date) as first_date
            from (
                select product_id, sale_date as touched_date
                from {{ ref('int_product_day_sales') }}
                where _increment_id in {{ pending('int_product_day_sales') }}
                {%- if has_news('fct_promotion_week') %}
                union all
                {{ days_of_another_plan() }}
                {%- endif %}
                {%- if has_news('fct_inventory_snapshot') %}
                union all
                {{ days_of_another_stock() }}
                {%- endif %}
            ) as news
            group by product_id
        ) as touched
            on kept.product_id = touched.product_id
            and kept.feature_date >= touched.first_date
    )
{%- endmacro %}


{% macro days_of_another_plan() -%}
    select kept.product_id, kept.feature_date as touched_date
    from {{ this }} as kept
    inner join {{ ref('dim_date') }} as dates
        on kept.feature_date = dates.date_day
    left join {{ ref('fct_promotion_week') }} as promotion
        on kept.product_id = promotion.product_id
        and dates.week_start_date = promotion.week_start_date
    where
        dates.week_start_date in {{ touched_dates('fct_promotion_week') }}
        and (
            kept.stores_on_display <> coalesce(promotion.stores_on_display, 0)
            or kept.stores_in_mailer <> coalesce(promotion.stores_in_mailer, 0)
        )
{%- endmacro %}


{% macro days_of_another_stock() -%}
    select kept.product_id, kept.feature_date as touched_date
    from {{ this }} as kept
    inner join (
        select cast({{ dbt.dateadd('day', 1, 'touched_date') }} as date) as date_day
        from {{ touched_dates('fct_inventory_snapshot') }} as touched
    ) as begun
        on kept.feature_date = begun.date_day
    left join ({{ stock_days() }}) as stock
        on kept.product_id = stock.product_id
        and kept.feature_date = stock.date_day
    where kept.is_stock_out <> coalesce(stock.is_stock_out, false)
{%- endmacro %}


{#- The deviation of a whole population from its integer sums: exact until the root. -#}
{% macro deviation(counted, summed, squared) -%}
    {{- ratio(
        'sqrt(cast(' ~ counted ~ ' * ' ~ squared ~ ' - ' ~ summed ~ ' * ' ~ summed ~ ' as double))',
        counted
    ) -}}
{%- endmacro %}


{#- The window of a product's so many last days, the day itself among them. -#}
{% macro last_days(count) -%}
    partition by product_id order by date_day rows between {{ count - 1 }} preceding and current row
{%- endmacro %}
