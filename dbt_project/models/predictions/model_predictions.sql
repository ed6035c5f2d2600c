select
    run_id,
    kind,
    model_version,
    origin_date,
    inputs,
    row_count,
    scored_at
from {{ inference('run') }}
