"""Pipelines without a node: their backend, their clock and what comes out."""
