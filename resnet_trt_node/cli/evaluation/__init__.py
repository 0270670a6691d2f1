"""Commands that measure how right and how fast models are."""
