"""The Feast repository: what features there are, of what, from which published table, for whom."""
