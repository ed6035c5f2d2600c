{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook=[
        "{{ open_increment(['hist_client']) }}",
        "{{ replace_scope(has_changed(ref('hist_client'), 'client_id'), 'client_id') }}",
    ],
    post_hook=["{{ close_increment() }}"],
) }}

with {{ scd2_versions(ref('hist_client'), 'client_id', {
    'email': 'email_hash',
    'phone': 'phone_hash',
    'age_band': 'age_band',
    'income_band': 'income_band',
    'household_size': 'household_size',
    'kids': 'kids',
    'city': 'city',
    'created_at': 'created_at',
}) }},

final as (
    select
        {{ text_hash(['client_id', epoch_us('valid_from')]) }} as client_key,
        client_id,
        email_hash,
        phone_hash,
        age_band,
        income_band,
        household_size,
        kids,
        city,
        created_at,
        valid_from,
        valid_to,
        is_current,
        is_deleted,
        cast('{{ invocation_id }}' as {{ text_type() }}) as _increment_id
    from versions
)

select * from final
