{#
  Every distinct change of a source table, once. A change that was delivered again (after a
  restart of the connector) has the same identity: key, position and kind; where a table has no
  key, the order in its transaction stands for it, or else the place of the message. Of its copies
  the one with the smallest offset is kept, whichever came first, so that the order of the batches
  does not show.

  `_arrival` tells how a change came: `applied`, `stale` (below what its key had reached before
  this run), `repeated` (a copy that took the place of the one kept before) or `derived` (the end
  of a snapshot). From it each run counts what became of the rows that landed.
#}
{% macro change_log(relation) -%}
    {{- config(
        materialized='incremental',
        incremental_strategy='replace_changed',
        meta={'identity': ['_change_id'], 'replaces': "_arrival in ('repeated', 'derived')"},
        pre_hook=["{{ open_increment(contract_name()) }}", "{{ gather_news() }}"],
        post_hook=["{{ drop_news() }}", "{{ count_arrivals() }}", "{{ close_increment() }}"],
    ) -}}
    {%- set key = contract_key() -%}
    {%- set columns = contract_columns() -%}
    {%- set toast = ['_unavailable', '_former_key'] if contract_toast() else [] -%}
    {%- set identity = key + ['_change_position', '_op'] -%}
    {%- if not key -%}
        {%- do identity.append(
            "coalesce(cast(_transaction_order as " ~ text_type() ~ "), concat(cast(_partition as "
            ~ text_type() ~ "), ':', _order_key))"
        ) -%}
    {%- endif -%}
    {%- if not has_news(contract_name()) -%}
        select * from {{ this }} where false
    {%- else -%}
with delivered as (
    {{ delivered(relation) }}
),

identified as (
    select
        *,
        {{ text_hash(identity) }} as _change_id
    from delivered
),

numbered as (
    select
        *,
        row_number() over (partition by _change_id order by _order_key, _partition) as _copy
    from identified
),

news as (
    select * from numbered
    where _copy = 1
),

{% if is_incremental() -%}
known as (
    select
        {% for column in key -%}
        met.{{ column }},
        {% endfor -%}
        met._order_key,
        met._source_ts,
        met._change_id
    from (
        {{ met_by('news') }}
    ) as met
    where met._order_key >= (select min(_change_position) from news)
),

{% if key -%}
reached as (
    select
        {{ key | join(', ') }},
        max(_order_key) as _order_key
    from known
    group by {{ key | join(', ') }}
),

death as (
    select max(_order_key) as _order_key from known
    where {{ key[0] }} is null
),

{% endif -%}
changed as (
    select
        news.*,
        case
            when news._op = 'p' then 'derived'
            when known._change_id is not null then 'repeated'
            {% if key -%}
            when news._order_key < reached._order_key or news._order_key < death._order_key
                then 'stale'
            {% endif -%}
            else 'applied'
        end as _arrival
    from news
    left join known on news._change_id = known._change_id
    {%- if key %}
    left join reached
        on {{ same_key('news', 'reached', key) }}
    cross join death
    {%- endif %}
    where
        known._change_id is null
        or news._order_key < known._order_key
        -- The latest end of the snapshots of an epoch counts, whatever batch it came in.
        or (news._op = 'p' and news._source_ts > known._source_ts)
),
{%- else -%}
changed as (
    select
        *,
        case when _op = 'p' then 'derived' else 'applied' end as _arrival
    from news
),
{%- endif %}

final as (
    select
        {% for column in columns + ['_op', '_order_key', '_source_ts', '_change_id'] + toast -%}
        {{ column }},
        {% endfor -%}
        _arrival,
        _batch_id,
        cast('{{ invocation_id }}' as {{ text_type() }}) as _increment_id
    from changed
)

select * from final
    {%- endif -%}
{%- endmacro %}

{#
  Adds what became of the rows that this run consumed: applied + duplicate + stale = landed.
  Before close_increment, in the post_hooks.
#}
{% macro count_arrivals() -%}
    {%- set arrival = state_table('arrival') -%}
    {%- set statements = [] -%}
    {%- if not is_incremental() -%}
        {%- do statements.append('delete from ' ~ arrival ~ " where model = '" ~ model.name ~ "'") -%}
    {%- endif -%}
    {%- set insert -%}
        insert into {{ arrival }} (model, upstream, increment_id, applied, duplicate, stale)
        select
            '{{ model.name }}',
            '{{ contract_name() }}',
            '{{ invocation_id }}',
            counted.applied,
            consumed.row_count - counted.applied - counted.stale,
            counted.stale
        from (
            select
                count(case when _arrival = 'applied' then 1 end) as applied,
                count(case when _arrival = 'stale' then 1 end) as stale
            from {{ this }}
            where {{ is_uncounted() }}
        ) as counted
        cross join (
            -- What landed less what was counted: after a crash, nothing is counted twice.
            select
                sum(row_count) - coalesce((
                    select sum(applied + duplicate + stale) from {{ arrival }}
                    where model = '{{ model.name }}'
                ), 0) as row_count
            from {{ state_table('landed') }}
            where
                table_name = '{{ contract_name() }}'
                and batch_id in (
                    select token from {{ state_table('consumption') }}
                    where model = '{{ model.name }}' and upstream = '{{ contract_name() }}'
                )
        ) as consumed
        where consumed.row_count > 0
    {%- endset -%}
    {%- do statements.append(insert) -%}
    {{- run_statements(statements) -}}
{%- endmacro %}

{# The rows of this run, and those of runs that ended between writing and counting them. #}
{% macro is_uncounted() -%}
    {{- adapter.dispatch('is_uncounted', 'lakehouse')() -}}
{%- endmacro %}

{% macro default__is_uncounted() -%}
    _increment_id = '{{ invocation_id }}'
{%- endmacro %}

{% macro spark__is_uncounted() -%}
    {{- trino__is_uncounted() -}}
{%- endmacro %}

{% macro trino__is_uncounted() -%}
    _increment_id in (
        select told.increment_id
        from {{ state_table('increment') }} as told
        left join {{ state_table('arrival') }} as counted
            on told.model = counted.model and told.increment_id = counted.increment_id
        where told.model = '{{ model.name }}' and counted.model is null
    )
{%- endmacro %}
