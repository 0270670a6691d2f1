"""Which frames wait, which form a batch and when, and in which order they are published."""
