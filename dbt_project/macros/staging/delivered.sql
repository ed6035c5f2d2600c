{# What the base and history models share: reading the news, and finding the state it meets. #}

{# The events of the batches that this run consumes. #}
{% macro delivered(relation) -%}
    select
        {% for column in contract_columns() -%}
        {{ column }},
        {% endfor -%}
        _op,
        {{ change_position() }} as _change_position,
        {{ order_key() }} as _order_key,
        _source_ts,
        _partition,
        _batch_id
    from {{ relation }}
    where
        _batch_id in {{ pending(contract_name()) }}
        {#- Files are pruned by a comparison with one value, not by the set. #}
        and _batch_id >= (select min(token) from {{ pending(contract_name()) }} as waiting)
{%- endmacro %}

{#
  Where a change stands in its source's order: text of fixed width, so that it sorts like
  (_epoch, _source_position, _source_rank). The dot sorts below every digit and letter.
#}
{% macro change_position() -%}
    concat(
        lpad(cast(_epoch as varchar), 10, '0'), '.',
        coalesce(_source_position, ''), '.',
        lpad(cast(_source_rank as varchar), 4, '0')
    )
{%- endmacro %}

{# The same with the offset: a total order of what was delivered for one key. #}
{% macro order_key() -%}
    concat({{ change_position() }}, '.', lpad(cast(_offset as varchar), 19, '0'))
{%- endmacro %}

{#
  The rows of this model that share a key with the news. The join is an inner one against the few
  keys, so that the engine can skip the parts of the table which hold none of them. Truncates have
  no key and are few: they always take part.
#}
{% macro met_by(news) -%}
    {%- set key = contract_key() -%}
    select state.*
    from {{ this }} as state
    inner join (select distinct {{ key | join(', ') }} from {{ news }}) as touched
        on
            {%- for column in key %}
            {{ 'and ' if not loop.first }}state.{{ column }} = touched.{{ column }}
            {%- endfor %}
    union all
    select state.*
    from {{ this }} as state
    where state.{{ key[0] }} is null
{%- endmacro %}

{#
  Incremental strategy `replace_changed`: rows that come again replace their former selves. Like
  delete+insert, but by the contract's key (known only at run time) and with the keyless rows.
#}
{% macro get_incremental_replace_changed_sql(arg_dict) -%}
    {{- adapter.dispatch('get_incremental_replace_changed_sql', 'lakehouse')(arg_dict) -}}
{%- endmacro %}

{% macro default__get_incremental_replace_changed_sql(arg_dict) -%}
    {%- set target = arg_dict.target_relation -%}
    {%- set source = arg_dict.temp_relation -%}
    {%- set key = contract_key() -%}
    {%- set identity = config.get('meta').get('identity', []) -%}
    {%- set columns = get_quoted_csv(arg_dict.dest_columns | map(attribute='name')) -%}
    delete from {{ target }} as state
    using {{ source }} as news
    where
        {%- for column in key + identity %}
        {{ 'and ' if not loop.first }}state.{{ column }} = news.{{ column }}
        {%- endfor %};
    delete from {{ target }} as state
    using {{ source }} as news
    where
        state.{{ key[0] }} is null
        and news.{{ key[0] }} is null
        {%- for column in identity %}
        and state.{{ column }} = news.{{ column }}
        {%- endfor %};
    insert into {{ target }} ({{ columns }})
    select {{ columns }} from {{ source }}
{%- endmacro %}
