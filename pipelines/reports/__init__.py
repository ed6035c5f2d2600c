"""Reports for people who open no dashboard: published tables, told on one page of HTML.

`period` says which days are told, `sales` and `inventory` which queries, `page` how it looks,
`report` puts them together. To add a section, add a query: see docs/reports.md.
"""
