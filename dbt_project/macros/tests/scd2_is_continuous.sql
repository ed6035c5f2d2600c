{#
  The versions of a key cover its life once: each ends after it begins, none overlaps the next,
  and only a deletion leaves a gap. The last version, and no other, may be open.
#}
{% test scd2_is_continuous(model, key) %}

with followed as (
    select
        {{ key }},
        valid_from,
        valid_to,
        is_current,
        is_deleted,
        lead(valid_from) over (partition by {{ key }} order by valid_from) as next_valid_from
    from {{ model }}
)

select *
from followed
where
    valid_to <= valid_from
    or is_current <> (valid_to is null)
    or (is_current and is_deleted)
    or (valid_to is null and next_valid_from is not null)
    or next_valid_from < valid_to
    or (next_valid_from > valid_to and not is_deleted)
    -- A version that ends without a successor ended in a deletion.
    or (next_valid_from is null and valid_to is not null and not is_deleted)

{% endtest %}
