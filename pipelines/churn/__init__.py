"""Churn: how likely it is that a client buys nothing in the next eight weeks.

`model` learns from snapshots of clients and predicts them, `backtest` tells how well. Nothing here
reads or writes the lake.
"""
