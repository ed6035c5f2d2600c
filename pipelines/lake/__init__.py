"""The tables of the lake: Delta on disk, read and written without a server."""
