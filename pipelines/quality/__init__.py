"""Quality gates: suites of rules, checked by Great Expectations before anything is published."""
