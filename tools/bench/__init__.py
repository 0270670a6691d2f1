"""
The real-time benchmark: cameras, node, plain node and listener, each in a process of its own.

`python -m bench` (with tools/ on the path) is what `make bench` and `make soak` run.
"""

from __future__ import annotations

from resnet_trt_node.errors import ResnetTrtError


class BenchError(ResnetTrtError):
    """Something that keeps a scenario from being measured; the message says what to do."""
