{#
  How a model knows its news, and tells its readers. All of it runs in the model's transaction:
  a crash undoes the rows and the record of what was consumed together.

      pre_hook:  open_increment(['base_sale', …])   what is new becomes 'pending'
                 replace_scope("order_id in …")     (where a scope is re-made) its rows go
      the model: … where _increment_id in {{ pending('base_sale') }}
      post_hook: log_touched_dates(…)               (facts) which days it changed
                 close_increment()                  'pending' becomes 'done'

  An upstream is a model's name, or a source table's full name ('shop.public.sale', it has dots).
  The token of news is the increment_id that the upstream model wrote, or the raw batch id.
#}

{# Fixes what is news to this model. First of its pre_hooks. #}
{% macro open_increment(upstreams) -%}
    {%- set upstreams = [upstreams] if upstreams is string else upstreams -%}
    {%- set consumption = state_table('consumption') -%}
    {%- set mine = "model = '" ~ model.name ~ "'" -%}
    {%- set statements = [] -%}
    {%- if is_incremental() -%}
        {%- do statements.append(
            'delete from ' ~ consumption ~ ' where ' ~ mine ~ " and status = 'pending'"
        ) -%}
    {%- else -%}
        {%- do statements.append('delete from ' ~ consumption ~ ' where ' ~ mine) -%}
    {%- endif -%}
    {%- for upstream in upstreams -%}
        {%- do statements.append(insert_pending(upstream)) -%}
    {%- endfor -%}
    {{- run_statements(statements) -}}
{%- endmacro %}

{% macro insert_pending(upstream) -%}
    {%- set consumption = state_table('consumption') -%}
    insert into {{ consumption }} (model, upstream, token, status)
    select '{{ model.name }}', '{{ upstream }}', news.token, news.status
    from (
        {{ unconsumed(upstream) }}
        union all
        select '' as token, 'reader' as status
    ) as news
    where not exists (
        select 1 from {{ consumption }} as seen
        where
            seen.model = '{{ model.name }}'
            and seen.upstream = '{{ upstream }}'
            and seen.token = news.token
    )
{%- endmacro %}

{# Every token that the upstream offers, consumed or not. #}
{% macro unconsumed(upstream) -%}
    {%- if '.' in upstream -%}
        select distinct batch_id as token, 'pending' as status
        from {{ state_table('landed') }}
        where table_name = '{{ upstream }}'
    {%- else -%}
        select distinct increment_id as token, 'pending' as status
        from {{ state_table('increment') }}
        where model = '{{ upstream }}'
    {%- endif -%}
{%- endmacro %}

{# Last of the post_hooks: the news is consumed, and this model's own increment announced. #}
{% macro close_increment() -%}
    {%- set consumption = state_table('consumption') -%}
    {%- set mine = "model = '" ~ model.name ~ "' and status = 'pending'" -%}
    {%- set increment = state_table('increment') -%}
    {{- run_statements([
        'insert into ' ~ increment ~ " (model, increment_id) select distinct model, '"
            ~ invocation_id ~ "' from " ~ consumption ~ ' where ' ~ mine
            ~ ' and not exists (select 1 from ' ~ increment ~ ' as told'
            ~ " where told.model = '" ~ model.name ~ "'"
            ~ " and told.increment_id = '" ~ invocation_id ~ "')",
        'update ' ~ consumption ~ " set status = 'done' where " ~ mine,
    ]) -}}
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
    {%- set upstreams = [upstreams] if upstreams is string else upstreams -%}
    {%- if not execute or not is_incremental() -%}
        {{- return(true) -}}
    {%- endif -%}
    {%- for upstream in upstreams -%}
        {%- set query -%}
            select 1 as found
            from ({{ unconsumed(upstream) }}) as news
            where not exists (
                select 1 from {{ state_table('consumption') }} as seen
                where
                    seen.model = '{{ model.name }}'
                    and seen.upstream = '{{ upstream }}'
                    and seen.token = news.token
                    and seen.status = 'done'
            )
            limit 1
        {%- endset -%}
        {%- if run_query(query).rows | length > 0 -%}
            {{- return(true) -}}
        {%- endif -%}
    {%- endfor -%}
    {{- return(false) -}}
{%- endmacro %}

{#
  Empties the scope that the model is about to re-make, so that rows which ceased to exist vanish.
  After open_increment. With a date column, the days of the rows that go are logged, too.
#}
{% macro replace_scope(predicate_sql, date_column=none) -%}
    {%- set statements = [] -%}
    {%- if is_incremental() -%}
        {%- if date_column -%}
            {%- do statements.append(insert_touched_dates(this, date_column, predicate_sql)) -%}
        {%- endif -%}
        {%- do statements.append('delete from ' ~ this ~ ' where ' ~ predicate_sql) -%}
    {%- elif execute and date_column and adapter.get_relation(
        this.database, this.schema, this.identifier
    ) is not none -%}
        {#- A full refresh may drop days that the old table had: its readers must hear of them. -#}
        {%- do statements.append(insert_touched_dates(this, date_column, 'true')) -%}
    {%- endif -%}
    {{- run_statements(statements) -}}
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
