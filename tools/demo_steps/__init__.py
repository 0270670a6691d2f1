"""The parts of the demo: a model, a recording, the node in its process, its results."""

from __future__ import annotations

from resnet_trt_node.errors import ResnetTrtError


class DemoError(ResnetTrtError):
    """Something that keeps the demo from being shown; the message says what to do."""
