"""The parts of the demo: a model, a recording, the node in its process, its results."""

from __future__ import annotations

from bench import BenchError


class DemoError(BenchError):
    """Something that keeps the demo from being shown; the message says what to do."""
