{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook=[
        "{{ open_increment(['base_client_interaction']) }}",
        "{{ replace_scope(is_changed_interaction(), 'interaction_id') }}",
    ],
    post_hook="{{ close_increment() }}"
) }}

with interactions as (

    select * from {{ ref('stg_client_interaction') }}

),

final as (

    select
        interaction_id,
        client_id,
        product_id,
        interaction_kind,
        interacted_at,
        {{ utc_date('interacted_at') }} as interaction_date
    from interactions
    {% if is_incremental() %}
        where {{ is_changed_interaction() }}
    {% endif %}

)

select * from final
