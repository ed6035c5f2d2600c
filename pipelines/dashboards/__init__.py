"""Dashboards as code: short YAML, checked against dbt's models, becomes what Superset imports."""
