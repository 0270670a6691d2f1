"""Checkpoint files: download, reading, and the weights in them."""
