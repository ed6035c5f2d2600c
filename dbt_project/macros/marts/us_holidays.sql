{#-
  The holidays of the United States that show in the sales of shops, of some years: the columns
  holiday_date and holiday_name. `dated` is a relation made by holiday_years.
-#}
{% macro us_holidays(dated) -%}
    select
        year_start as holiday_date,
        'New Year' as holiday_name
    from {{ dated }}
    union all
    select
        cast({{ dbt.dateadd('day', 'easter_offset', 'equinox') }} as date),
        'Easter'
    from {{ dated }}
    union all
    -- The last Monday of May.
    select
        cast({{ dbt.dateadd('day', '1 - ' ~ iso_day_of_week('end_of_may'), 'end_of_may') }} as date),
        'Memorial Day'
    from {{ dated }}
    union all
    select
        independence_day,
        'Independence Day'
    from {{ dated }}
    union all
    -- The first Monday of September.
    select
        cast({{ dbt.dateadd(
            'day', 'mod(8 - ' ~ iso_day_of_week('september') ~ ', 7)', 'september'
        ) }} as date),
        'Labor Day'
    from {{ dated }}
    union all
    -- The fourth Thursday of November.
    select
        cast({{ dbt.dateadd(
            'day', '21 + mod(11 - ' ~ iso_day_of_week('november') ~ ', 7)', 'november'
        ) }} as date),
        'Thanksgiving'
    from {{ dated }}
    union all
    select
        christmas,
        'Christmas'
    from {{ dated }}
{%- endmacro %}


{#-
  The days of each year that holidays are counted from; Easter is easter_offset days from 22 March.
  `years` is a relation with the column year_number, of 1900 to 2099: for these Gauss's rule gives
  Easter with remainders alone.
-#}
{% macro holiday_years(years) -%}
    select
        {% for name, day in {
            'year_start': '01-01', 'equinox': '03-22', 'end_of_may': '05-31',
            'independence_day': '07-04', 'september': '09-01', 'november': '11-01',
            'christmas': '12-25',
        }.items() -%}
        cast(concat(cast(year_number as {{ text_type() }}), '-{{ day }}') as date) as {{ name }},
        {% endfor -%}
        d + e - case
            when d = 29 and e = 6 then 7
            when d = 28 and e = 6 and mod(year_number, 19) > 10 then 7
            else 0
        end as easter_offset
    from (
        select
            year_number,
            d,
            mod(2 * mod(year_number, 4) + 4 * mod(year_number, 7) + 6 * d + 5, 7) as e
        from (
            select
                year_number,
                mod(19 * mod(year_number, 19) + 24, 30) as d
            from {{ years }} as named_years
        ) as with_d
    ) as with_e
{%- endmacro %}
