-- The last snapshot of each pair holds the sum of all its movements up to the business date.
with last_snapshot as (

    select
        fact.product_id,
        fact.warehouse_id,
        fact.on_hand
    from {{ ref('fct_inventory_snapshot') }} as fact
    inner join {{ ref('int_business_date') }} as business_day
        on fact.snapshot_date = business_day.business_date

),

movements as (

    select
        movement.product_id,
        movement.warehouse_id,
        sum(movement.quantity) as on_hand
    from {{ ref('stg_inventory_movement') }} as movement
    inner join {{ ref('int_business_date') }} as business_day
        on {{ utc_date('movement.moved_at') }} <= business_day.business_date
    group by movement.product_id, movement.warehouse_id

)

{{ differing_rows('last_snapshot', 'movements') }}
