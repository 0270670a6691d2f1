"""Statistics, diagnostics and what watches them."""
