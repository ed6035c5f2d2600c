"""Dashboards as code: short YAML, checked against dbt's models, becomes what Superset imports."""

# Where Superset answers on this machine, unless told otherwise.
PORT = 8088
