"""
The real-time benchmark: cameras, node, plain node and listener, each in a process of its own.

`python -m bench` (with tools/ on the path) is what `make bench` and `make soak` run.
"""

from __future__ import annotations

from resnet_trt_node.errors import ResnetTrtError
from resnet_trt_node.text.printable import printable_lines


class BenchError(ResnetTrtError):
    """Something that keeps a scenario from being measured; the message says what to do."""

    def __str__(self) -> str:
        """Return the message, which may end in lines that a process wrote."""
        return printable_lines(Exception.__str__(self))
