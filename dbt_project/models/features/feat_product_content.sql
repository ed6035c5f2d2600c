{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook=[
        "{{ open_increment(['dim_product']) }}",
        "{{ replace_scope(has_another_version(), 'product_id') }}",
        "{{ replace_scope(is_no_product(), 'product_id') }}",
    ],
    post_hook="{{ close_increment() }}"
) }}

with versions as (

    select * from {{ ref('dim_product') }}
    {% if not has_news('dim_product') %}
        where false
    {% elif is_incremental() %}
        where product_id in ({{ news_of('dim_product', 'product_id') }})
    {% endif %}

),

products as (

    select
        *,
        coalesce(product_name, '') || ' ' || coalesce(category, '') as content
    from versions
    where is_current

),

first_days as (

    select
        product_id,
        min({{ utc_date('valid_from') }}) as feature_date
    from versions
    group by product_id

),

words as (

    {{ words_of('products', ['product_id'], 'content') }}

),

-- The first hexadecimal digit of a word's hash is the bucket in which it counts.
hashed as (

    select
        product_id,
        substr({{ text_hash(['word']) }}, 1, 1) as bucket
    from words
    where word <> ''

),

counts as (

    select
        product_id,
        {{ bucket_counts() }}
    from hashed
    group by product_id

),

final as (

    select
        products.product_id,
        first_days.feature_date,
        products.department,
        products.category,
        products.brand,
        products.product_type,
        products.package_size,
        {{ bucket_columns('counts') }}
    from products
    inner join first_days
        on products.product_id = first_days.product_id
    left join counts
        on products.product_id = counts.product_id

)

select * from final
