"""Somebody's own database as a source: its schema is read, and what the lake needs is drafted."""
