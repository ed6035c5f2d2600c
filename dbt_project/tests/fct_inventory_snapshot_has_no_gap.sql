-- Each pair has a row for each day from its first to the business date.
with pairs as (

    select
        product_id,
        warehouse_id,
        min(snapshot_date) as first_date,
        count(*) as day_count
    from {{ ref('fct_inventory_snapshot') }}
    group by product_id, warehouse_id

),

expected as (

    select
        pairs.*,
        {{ dbt.datediff('pairs.first_date', 'business_day.business_date', 'day') }}
            as days_after
    from pairs
    cross join {{ ref('int_business_date') }} as business_day

)

select * from expected
where day_count <> days_after + 1
