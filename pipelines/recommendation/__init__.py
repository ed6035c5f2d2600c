"""What to recommend to each client: products to buy again, and products that are new to them."""
