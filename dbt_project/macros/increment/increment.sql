{#
  How a model knows its news, and tells its readers. On DuckDB all of it runs in the model's
  transaction: a crash undoes the rows and the record of what was consumed together. On Trino
  and Spark each statement stands alone, and their order lets a repeated run end in the same rows.

      pre_hook:  open_increment(['base_sale', …])   what is new becomes 'pending', and is announced
                 replace_scope("order_id in …", 'order_id')  (where a scope is re-made) its rows go
      the model: … where _increment_id in {{ pending('base_sale') }}
      post_hook: log_touched_dates(…)               (facts) which days it changed
                 close_increment()                  'pending' becomes 'done'

  An upstream is a model's name, or a source table's full name ('shop.public.sale', it has dots).
  The token of news is the increment_id that the upstream model wrote, or the raw batch id.
#}

{#
  Fixes what is news to this model, and announces its own increment. First of its pre_hooks.
  The increment is announced before a row of it is written: where an engine has no transaction, a
  crash leaves an increment without rows, never rows that no reader is told of.
#}
{% macro open_increment(upstreams) -%}
    {%- set consumption = state_table('consumption') -%}
    {%- set increment = state_table('increment') -%}
    {%- set mine = "model = '" ~ model.name ~ "'" -%}
    {%- set upstreams = [upstreams] if upstreams is string else upstreams -%}
    {%- set statements = [
        insert_pending(upstreams),
        'insert into ' ~ increment ~ " (model, increment_id) select distinct model, '"
            ~ invocation_id ~ "' from " ~ consumption ~ ' where ' ~ mine ~ " and status = 'pending'"
            ~ ' and not exists (select 1 from ' ~ increment ~ ' as told where told.' ~ mine
            ~ " and told.increment_id = '" ~ invocation_id ~ "')",
    ] -%}
    {%- if not is_incremental() -%}
        {#- It stays known as a reader: what is offered meanwhile must not be forgotten. -#}
        {%- do statements.insert(0, 'delete from ' ~ consumption ~ ' where ' ~ mine
            ~ " and (token <> '' or upstream not in ('" ~ upstreams | join("', '") ~ "'))") -%}
    {%- endif -%}
    {{- run_statements(statements) -}}
{%- endmacro %}

{% macro insert_pending(upstreams) -%}
    {%- set consumption = state_table('consumption') -%}
    insert into {{ consumption }} (model, upstream, token, status)
    select '{{ model.name }}', news.upstream, news.token, news.status
    from (
        select upstream, token, 'pending' as status from ({{ offered(upstreams) }}) as offer
        {{- unnamed_tokens(upstreams) }}
    ) as news
    where not exists (
        select 1 from {{ consumption }} as seen
        where
            seen.model = '{{ model.name }}'
            and seen.upstream = news.upstream
            and seen.token = news.token
    )
{%- endmacro %}

{# A row for each upstream that tells who reads it. To Spark each part of a union is work: one for all. #}
{% macro unnamed_tokens(upstreams) -%}
    {{- adapter.dispatch('unnamed_tokens', 'lakehouse')(upstreams) -}}
{%- endmacro %}

{% macro default__unnamed_tokens(upstreams) -%}
        {%- for upstream in upstreams %}
        union all
        select '{{ upstream }}' as upstream, '' as token, 'reader' as status
        {%- endfor %}
{%- endmacro %}

{% macro spark__unnamed_tokens(upstreams) %}
        union all
        select upstream, '' as token, 'reader' as status
        from values ('{{ upstreams | join("'), ('") }}') as known (upstream)
{%- endmacro %}

{# Every token that the upstreams offer, consumed or not. #}
{% macro offered(upstreams) -%}
    {{- adapter.dispatch('offered', 'lakehouse')(upstreams) -}}
{%- endmacro %}

{% macro spark__offered(upstreams) -%}
    {%- set tables, models = [], [] -%}
    {%- for upstream in upstreams -%}
        {%- do (tables if '.' in upstream else models).append(upstream) -%}
    {%- endfor -%}
    {%- if tables -%}
    select distinct table_name as upstream, batch_id as token
    from {{ state_table('landed') }}
    where table_name in ('{{ tables | join("', '") }}')
    {%- endif -%}
    {{- ' union all ' if tables and models -}}
    {%- if models -%}
    select distinct model as upstream, increment_id as token
    from {{ state_table('increment') }}
    where model in ('{{ models | join("', '") }}')
    {%- endif -%}
{%- endmacro %}

{% macro default__offered(upstreams) -%}
    {%- for upstream in upstreams -%}
        {{- ' union all ' if not loop.first -}}
        {%- if '.' in upstream -%}
        select distinct '{{ upstream }}' as upstream, batch_id as token
        from {{ state_table('landed') }}
        where table_name = '{{ upstream }}'
        {%- else -%}
        select distinct '{{ upstream }}' as upstream, increment_id as token
        from {{ state_table('increment') }}
        where model = '{{ upstream }}'
        {%- endif -%}
    {%- endfor -%}
{%- endmacro %}

{# Last of the post_hooks: the news is consumed. A crash before it has the news consumed again. #}
{% macro close_increment() -%}
    update {{ state_table('consumption') }} set status = 'done'
    where model = '{{ model.name }}' and status = 'pending'
{%- endmacro %}

{# The tokens of the upstream that this run consumes, as a subquery. #}
{% macro pending(upstream) -%}
    (
        select token from {{ state_table('consumption') }}
        where
            model = '{{ model.name }}'
            and upstream = '{{ upstream }}'
            and status = 'pending'
    )
{%- endmacro %}

{#
  Whether an increment would find anything to do: asked before the hooks open it, so that a model
  without news need not touch its inputs. True at a first build and at a full refresh.
#}
{% macro has_news(upstreams) -%}
    {%- if not execute or not is_incremental() -%}
        {{- return(true) -}}
    {%- endif -%}
    {%- set query -%}
        select 1 as found
        from ({{ offered([upstreams] if upstreams is string else upstreams) }}) as news
        where not exists (
            select 1 from {{ state_table('consumption') }} as seen
            where
                seen.model = '{{ model.name }}'
                and seen.upstream = news.upstream
                and seen.token = news.token
                and seen.status = 'done'
        )
        limit 1
    {%- endset -%}
    {{- return(run_query(query).rows | length > 0) -}}
{%- endmacro %}

{#
  Empties the scope that the model is about to re-make, so that rows which ceased to exist vanish.
  After open_increment. `columns` are those that the predicate asks about. With a date column, the
  days of the rows that go are logged, too.
#}
{% macro replace_scope(predicate_sql, columns, date_column=none) -%}
    {%- set statements = [] -%}
    {%- if is_incremental() -%}
        {%- if date_column -%}
            {%- do statements.append(insert_touched_dates(this, date_column, predicate_sql)) -%}
        {%- endif -%}
        {%- do statements.append(delete_rows(this, columns, predicate_sql)) -%}
    {%- elif execute and date_column and adapter.get_relation(
        this.database, this.schema, this.identifier
    ) is not none -%}
        {#- A full refresh may drop days that the old table had: its readers must hear of them. -#}
        {%- do statements.append(insert_touched_dates(this, date_column, 'true')) -%}
    {%- endif -%}
    {{- run_statements(statements) -}}
{%- endmacro %}

{#
  Deletes the rows of which a predicate holds that asks about some columns alone. Delta on Spark
  takes no subquery there: it deletes what another query has found.
#}
{% macro delete_rows(relation, columns, predicate_sql) -%}
    {{- adapter.dispatch('delete_rows', 'lakehouse')(relation, columns, predicate_sql) -}}
{%- endmacro %}

{% macro default__delete_rows(relation, columns, predicate_sql) -%}
    {{- 'delete from ' ~ relation ~ ' where ' ~ predicate_sql -}}
{%- endmacro %}

{% macro spark__delete_rows(relation, columns, predicate_sql) -%}
    {%- set columns = [columns] if columns is string else columns -%}
    merge into {{ relation }} as kept
    using (
        select distinct {{ columns | join(', ') }}
        from {{ relation }}
        where {{ predicate_sql }}
    ) as gone
    on
        {%- for column in columns %}
        {{ 'and ' if not loop.first }}kept.{{ column }} = gone.{{ column }}
        {%- endfor %}
    when matched then delete
{%- endmacro %}

{# Logs the days of the rows as they are now. Before close_increment, in the post_hooks. #}
{% macro log_touched_dates(predicate_sql, date_column) -%}
    {{- insert_touched_dates(
        this, date_column, predicate_sql if is_incremental() else 'true'
    ) -}}
{%- endmacro %}

{% macro insert_touched_dates(relation, date_column, predicate_sql) -%}
    insert into {{ state_table('touched_date') }} (model, increment_id, touched_date)
    select distinct '{{ model.name }}', '{{ invocation_id }}', {{ date_column }}
    from {{ relation }}
    where {{ predicate_sql }}
{%- endmacro %}

{# The days that the upstream's pending increments touched, as a subquery. #}
{% macro touched_dates(upstream) -%}
    (
        select distinct touched_date from {{ state_table('touched_date') }}
        where
            model = '{{ upstream }}'
            and increment_id in {{ pending(upstream) }}
    )
{%- endmacro %}
