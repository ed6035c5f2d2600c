"""Lakehouse: change events in, tested marts out."""
