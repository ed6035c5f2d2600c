"""The sources of recommendations: each scores products for clients by one idea."""
