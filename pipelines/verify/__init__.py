"""Reconciling source and lake: whether the staged rows are the rows of the database."""
