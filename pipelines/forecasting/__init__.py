"""Demand forecasting: how many pieces of each product will be sold on each of the next days.

`panel` makes the table of products and days, `model` forecasts it, `backtest` tells how well.
Nothing here reads or writes the lake.
"""
