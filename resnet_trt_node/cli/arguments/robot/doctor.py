"""What `resnet_trt doctor` takes."""

from __future__ import annotations

from resnet_trt_node.cli.arguments.shared import add_json
from resnet_trt_node.cli.support.parser import CommandParser

EXAMPLES = (
    ('resnet_trt doctor', 'what is installed, what is missing, and how to install it'),
    ('resnet_trt doctor --json', 'the same as JSON'),
)


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    add_json(parser, 'print everything as JSON')
