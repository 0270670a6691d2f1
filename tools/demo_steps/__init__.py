"""The parts of the demo: a model, a recording, the node in its process, its results."""

from __future__ import annotations

from resnet_trt_node.errors import ResnetTrtError
from resnet_trt_node.printable import printable_lines


class DemoError(ResnetTrtError):
    """Something that keeps the demo from being shown; the message says what to do."""

    def __str__(self) -> str:
        """Return the message, which may end in lines that a process wrote."""
        return printable_lines(Exception.__str__(self))
