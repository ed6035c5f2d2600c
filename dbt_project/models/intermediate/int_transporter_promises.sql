{{ config(materialized='view') }}

with changes as (

    select
        transporter_id,
        lead_time_days,
        _source_ts as valid_from,
        _order_key
    from {{ ref('hist_transporter') }}
    -- The promise made for an order stands, even when the transporter is gone since.
    where _op in ('c', 'u', 'r') and lead_time_days is not null

),

-- Of changes at the same instant the last one counts.
versions as (

    select
        transporter_id,
        lead_time_days,
        valid_from,
        row_number() over (
            partition by transporter_id, valid_from order by _order_key desc
        ) as recency
    from changes

),

latest_versions as (

    select * from versions
    where recency = 1

),

final as (

    {{ version_periods('latest_versions', 'transporter_id', ['lead_time_days']) }}

)

select * from final
