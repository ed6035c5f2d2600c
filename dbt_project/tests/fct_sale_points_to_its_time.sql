-- No sale points to a version that began after it while an older one was there, nor to one that
-- had ended while the next had begun.
with sale as (

    select
        sale_id,
        product_key,
        client_key,
        sold_at
    from {{ ref('fct_sale') }}

),

version as (

    select
        product_key as version_key,
        case
            when row_number() over (partition by product_id order by valid_from) > 1
                then valid_from
        end as not_before,
        lead(valid_from) over (partition by product_id order by valid_from) as not_from
    from {{ ref('dim_product') }}
    union all
    select
        client_key as version_key,
        case
            when row_number() over (partition by client_id order by valid_from) > 1
                then valid_from
        end as not_before,
        lead(valid_from) over (partition by client_id order by valid_from) as not_from
    from {{ ref('dim_client') }}

),

-- Most keys have a single version, which is right at any time.
bounded_version as (

    select * from version
    where not_before is not null or not_from is not null

),

final as (

    select sale.sale_id
    from sale
    inner join bounded_version
        on sale.product_key = bounded_version.version_key
    where
        sale.sold_at < bounded_version.not_before
        or sale.sold_at >= bounded_version.not_from
    union all
    select sale.sale_id
    from sale
    inner join bounded_version
        on sale.client_key = bounded_version.version_key
    where
        sale.sold_at < bounded_version.not_before
        or sale.sold_at >= bounded_version.not_from

)

select * from final
