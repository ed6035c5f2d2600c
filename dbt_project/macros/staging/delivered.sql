{# What the base and history models share: reading the news, and finding the state it meets. #}

{#
  The events of the batches that this run consumes. In a later epoch, the end of a snapshot is one
  more event, `p`, without key: it prunes what the source did not have any more (see fold_current).
#}
{% macro delivered(relation) -%}
    {{- adapter.dispatch('delivered', 'lakehouse')(relation) -}}
{%- endmacro %}

{% macro default__delivered(relation) -%}
    {%- set events -%}
    select
        {% for column in contract_columns() -%}
        {{ utc_time(column) ~ ' as ' if column in contract_times() }}{{ column }},
        {% endfor -%}
        _op,
        {{ change_position() }} as _change_position,
        {{ order_key() }} as _order_key,
        {{ source_time() }} as _source_ts,
        {% if contract_toast() -%}
        _unavailable,
        _former_key,
        {% endif -%}
        {% if not contract_key() -%}
        _transaction_order,
        {% endif -%}
        {% if contract_epoch() > 0 -%}
        _epoch,
        _snapshot,
        {% endif -%}
        _partition,
        _batch_id
    from {{ raw_table(relation) }}
    where
        _batch_id in {{ pending(contract_name()) }}
        {#- Files are pruned by a comparison with one value, not by the set. #}
        and _batch_id >= (select min(token) from {{ pending(contract_name()) }} as waiting)
    {%- endset -%}
    {%- if contract_epoch() == 0 -%}
    {{ events }}
    {%- else -%}
    {%- set columns = contract_columns() -%}
    {%- set others = ['_unavailable', '_former_key'] if contract_toast() else [] -%}
    {%- set others = others + ([] if contract_key() else ['_transaction_order']) -%}
    select {{ (columns + ['_op', '_change_position', '_order_key', '_source_ts'] + others
        + ['_partition', '_batch_id']) | join(', ') }}
    from (
        {{ events }}
    ) as event
    union all
    select
        {% for column in columns + ["'p'", epoch_position(), epoch_position(), 'max(_source_ts)']
            + others + ['min(_partition)', 'min(_batch_id)'] -%}
        {{ 'null' if column in columns + others else column }}{{ ',' if not loop.last }}
        {% endfor -%}
    from (
        {{ events }}
    ) as event
    where
        _op = 'r'
        and _epoch > 0
        and _snapshot in ('last', 'last_in_data_collection')
    group by _epoch
    {%- endif -%}
{%- endmacro %}

{#
  Times as the models have them. Trino shows a time with zone of a Delta table in milliseconds, one
  without in microseconds: there, all times are UTC without zone. The source's time has its
  microseconds from _source_ts_us, those of the contract's columns are cut.
#}
{% macro utc_time(column) -%}
    {{- adapter.dispatch('utc_time', 'lakehouse')(column) -}}
{%- endmacro %}

{% macro default__utc_time(column) -%}
    {{- column -}}
{%- endmacro %}

{% macro trino__utc_time(column) -%}
    cast({{ column }} at time zone 'UTC' as timestamp(6))
{%- endmacro %}

{% macro source_time() -%}
    {{- adapter.dispatch('source_time', 'lakehouse')() -}}
{%- endmacro %}

{% macro default__source_time() -%}
    _source_ts
{%- endmacro %}

{% macro trino__source_time() -%}
    cast(from_unixtime_nanos(_source_ts_us * 1000) as timestamp(6))
{%- endmacro %}

{#
  Trino and Spark compute a CTE once for each place that names it, and the news is named in many:
  there the hooks of the model gather it in a table of its own.
#}
{% macro trino__delivered(relation) -%}
    select * from {{ gathered_news() }}
{%- endmacro %}

{% macro spark__delivered(relation) -%}
    select * from {{ gathered_news() }}
{%- endmacro %}

{% macro gathered_news() -%}
    {{- this.incorporate(path={'identifier': this.identifier ~ '__news'}) -}}
{%- endmacro %}

{% macro gather_news() -%}
    {{- adapter.dispatch('gather_news', 'lakehouse')() -}}
{%- endmacro %}

{% macro default__gather_news() -%}
{%- endmacro %}

{% macro trino__gather_news() -%}
    {%- if execute and has_news(contract_name()) -%}
    create or replace table {{ gathered_news() }} as
    {{ default__delivered(source(*model.sources[0])) }}
    {%- endif -%}
{%- endmacro %}

{% macro spark__gather_news() -%}
    {%- if execute and has_news(contract_name()) -%}
    create or replace table {{ gathered_news() }}
    using delta
    {{ table_location(this.schema, this.identifier ~ '__news') }}
    as
    {{ default__delivered(source(*model.sources[0])) }}
    {%- endif -%}
{%- endmacro %}

{% macro drop_news() -%}
    {{- adapter.dispatch('drop_news', 'lakehouse')() -}}
{%- endmacro %}

{% macro default__drop_news() -%}
{%- endmacro %}

{% macro trino__drop_news() -%}
    drop table if exists {{ gathered_news() }}
{%- endmacro %}

{# On Spark the files of a table stay when it goes: it stays, too, and the next news replaces it. #}

{# Below every position of the epoch, above every one before it. #}
{% macro epoch_position() -%}
    concat(lpad(cast(_epoch as {{ text_type() }}), 10, '0'), '.')
{%- endmacro %}

{# Whether the event brought the value of a column that may be unavailable. #}
{% macro brings(column) -%}
    (_op in ('c', 'u', 'r') and not {{ is_listed('_unavailable', column) }})
{%- endmacro %}

{% macro is_listed(list, text) -%}
    {{- adapter.dispatch('is_listed', 'lakehouse')(list, text) -}}
{%- endmacro %}

{% macro default__is_listed(list, text) -%}
    array_contains({{ list }}, '{{ text }}')
{%- endmacro %}

{% macro trino__is_listed(list, text) -%}
    contains({{ list }}, '{{ text }}')
{%- endmacro %}

{# The key as a list of texts: what the landing keeps of a former key. #}
{% macro key_texts(key) -%}
    {{- adapter.dispatch('key_texts', 'lakehouse')(key) -}}
{%- endmacro %}

{% macro default__key_texts(key) -%}
    [{% for column in key %}cast({{ column }} as varchar){{ ', ' if not loop.last }}{% endfor %}]
{%- endmacro %}

{% macro trino__key_texts(key) -%}
    array{{ default__key_texts(key) }}
{%- endmacro %}

{% macro spark__key_texts(key) -%}
    array({% for column in key %}cast({{ column }} as string){{ ', ' if not loop.last }}{% endfor %})
{%- endmacro %}

{#
  Where a change stands in its source's order: text of fixed width, so that it sorts like
  (_epoch, _source_position, _source_rank). The dot sorts below every digit and letter.
#}
{% macro change_position() -%}
    concat(
        lpad(cast(_epoch as {{ text_type() }}), 10, '0'), '.',
        coalesce(_source_position, ''), '.',
        lpad(cast(_source_rank as {{ text_type() }}), 4, '0')
    )
{%- endmacro %}

{# The same with the offset: a total order of what was delivered for one key. #}
{% macro order_key() -%}
    concat({{ change_position() }}, '.', lpad(cast(_offset as {{ text_type() }}), 19, '0'))
{%- endmacro %}

{#
  The rows of this model that share a key with the news. The join is an inner one against the few
  keys, so that the engine can skip the parts of the table which hold none of them. Truncates have
  no key and are few: they always take part.
#}
{% macro met_by(news) -%}
    {%- set key = contract_key() -%}
    {%- if not key -%}
    select state.*
    from {{ this }} as state
    {%- else -%}
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
    {%- endif -%}
{%- endmacro %}

{#
  Whether two rows have the same key, or both have none (a truncate). Trino hashes equal texts; "is
  not distinct from" would compare each row with each.
#}
{% macro same_key(left, right, key) -%}
    {{- adapter.dispatch('same_key', 'lakehouse')(left, right, key) -}}
{%- endmacro %}

{% macro default__same_key(left, right, key) -%}
    {%- for column in key -%}
        {{- ' and ' if not loop.first -}}
        {{ left }}.{{ column }} is not distinct from {{ right }}.{{ column }}
    {%- endfor -%}
{%- endmacro %}

{% macro trino__same_key(left, right, key) -%}
    {%- for column in key -%}
        {{- ' and ' if not loop.first -}}
        coalesce(cast({{ left }}.{{ column }} as varchar), '')
            = coalesce(cast({{ right }}.{{ column }} as varchar), '')
        and ({{ left }}.{{ column }} is null) = ({{ right }}.{{ column }} is null)
    {%- endfor -%}
{%- endmacro %}

{#
  Incremental strategy `replace_changed`: rows that come again replace their former selves. Like
  delete+insert, but by the contract's key (known only at run time) and with the keyless rows. The
  model's meta may name further columns of the identity, and which rows have former selves at all
  (`replaces`, a condition): where none has, nothing is searched.
#}
{% macro get_incremental_replace_changed_sql(arg_dict) -%}
    {{- adapter.dispatch('get_incremental_replace_changed_sql', 'lakehouse')(arg_dict) -}}
{%- endmacro %}

{% macro default__get_incremental_replace_changed_sql(arg_dict) -%}
    {%- set target = arg_dict.target_relation -%}
    {%- set source = arg_dict.temp_relation -%}
    {%- set key = contract_key() -%}
    {%- set identity = config.get('meta').get('identity', []) -%}
    {%- set replaces = config.get('meta').get('replaces', 'true') -%}
    {%- set columns = get_quoted_csv(arg_dict.dest_columns | map(attribute='name')) -%}
    delete from {{ target }} as state
    using (select * from {{ source }} where {{ replaces }}) as news
    where
        {%- for column in key + identity %}
        {{ 'and ' if not loop.first }}state.{{ column }} = news.{{ column }}
        {%- endfor %};
    {%- if key %}
    delete from {{ target }} as state
    using (select * from {{ source }} where {{ replaces }}) as news
    where
        state.{{ key[0] }} is null
        and news.{{ key[0] }} is null
        {%- for column in identity %}
        and state.{{ column }} = news.{{ column }}
        {%- endfor %};
    {%- endif %}
    insert into {{ target }} ({{ columns }})
    select {{ columns }} from {{ source }}
{%- endmacro %}

{% macro spark__get_incremental_replace_changed_sql(arg_dict) -%}
    {{- trino__get_incremental_replace_changed_sql(arg_dict) -}}
{%- endmacro %}

{# One statement, so that no reader and no crash ever finds rows missing. #}
{% macro trino__get_incremental_replace_changed_sql(arg_dict) -%}
    {%- set identity = config.get('meta').get('identity') -%}
    {%- set columns = [] -%}
    {%- for column in arg_dict.dest_columns -%}
        {%- do columns.append(adapter.quote(column.name)) -%}
    {%- endfor -%}
    merge into {{ arg_dict.target_relation }} as state
    using {{ arg_dict.temp_relation }} as news
    on
        {%- for column in identity or [] %}
        {{ 'and ' if not loop.first }}state.{{ column }} = news.{{ column }}
        {%- else %}
        {{ same_key('state', 'news', contract_key()) }}
        {%- endfor %}
    when matched then update set
        {%- for column in columns %}
        {{ column }} = news.{{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    when not matched then insert ({{ columns | join(', ') }})
        values (news.{{ columns | join(', news.') }})
{%- endmacro %}
