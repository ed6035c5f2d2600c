"""Lineage: what was made of what, as OpenLineage events of every run and step."""
