with base as (
    select * from {{ ref('base_promotion') }}
),

final as (
    select
        product_id,
        week_start as week_start_date,
        stores_on_display,
        stores_in_mailer,
        _source_ts,
        _increment_id
    from base
    where not _is_deleted
)

select * from final
