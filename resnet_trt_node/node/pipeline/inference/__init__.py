"""Batches through the backend: its thread, its state, and calls that hang."""
