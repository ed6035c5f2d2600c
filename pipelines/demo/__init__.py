"""The demo shop: a year of real purchases, told as the change events of a source database."""
