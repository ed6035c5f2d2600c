{#- A table of what models predicted: DuckDB and Spark read it by its path, Trino by its name. -#}
{% macro inference(name) -%}
    {{- adapter.dispatch('inference', 'lakehouse')(source('inference', name), name) -}}
{%- endmacro %}

{% macro default__inference(relation, name) -%}
    {{- relation -}}
{%- endmacro %}

{% macro trino__inference(relation, name) -%}
    {{- relation.incorporate(path={'identifier': 'inference_' ~ name}) -}}
{%- endmacro %}

{% macro spark__inference(relation, name) -%}
    {{- raw_path('inference.' ~ name) or trino__inference(relation, name) -}}
{%- endmacro %}


{#- The newest run of a kind of model, for each origin or of all. A run stands there only when all
    of its predictions do. -#}
{% macro last_runs(kind, by_origin=false) -%}
    select
        run_id,
        origin_date,
        model_version
    from (
        select
            run_id,
            origin_date,
            model_version,
            row_number() over (
                {{ 'partition by origin_date ' if by_origin }}order by
                    scored_at_us desc, run_id desc
            ) as recency
        from {{ inference('run') }}
        where kind = '{{ kind }}'
    ) as runs
    where recency = 1
{%- endmacro %}


{#- Origins whose forecasts here are not those of their newest run. -#}
{% macro is_superseded_origin() -%}
    origin_date in (
        select newest.origin_date
        from ({{ last_runs('forecast', by_origin=true) }}) as newest
        where newest.run_id not in (select kept.run_id from {{ this }} as kept)
    )
{%- endmacro %}
