select
    audit_id,
    action,
    kind,
    model_version,
    actor,
    reason,
    run_id,
    acted_at
from {{ inference('audit') }}
