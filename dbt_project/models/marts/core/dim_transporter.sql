-- Re-made by each run: a shop has a handful of transporters.
with transporter as (
    select * from {{ ref('stg_transporter') }}
),

final as (
    select
        transporter_id,
        transporter_name,
        transport_mode,
        lead_time_days
    from transporter
)

select * from final
