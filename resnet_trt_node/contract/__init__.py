"""The deployable model: what it declares, and reading and writing its file."""
