{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook=[
        "{{ open_increment(['base_promotion']) }}",
        "{{ replace_scope(is_changed_promotion(), " ~ [
            'product_id', 'week_start_date'
        ] ~ ", date_column='week_start_date') }}",
    ],
    post_hook=[
        "{{ log_touched_dates(is_changed_promotion(), 'week_start_date') }}",
        "{{ close_increment() }}",
    ]
) }}

with promotions as (

    select * from {{ ref('stg_promotion') }}

),

final as (

    select
        product_id,
        week_start_date,
        stores_on_display,
        stores_in_mailer,
        stores_on_display > 0 as is_on_display,
        stores_in_mailer > 0 as is_in_mailer
    from promotions
    {% if is_incremental() %}
        where {{ is_changed_promotion() }}
    {% endif %}

)

select * from final
