"""The site of the documentation: pages of the repository, and a data dictionary made from dbt."""
