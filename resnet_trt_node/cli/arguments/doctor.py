"""What `resnet_trt doctor` takes."""

from __future__ import annotations

from resnet_trt_node.cli.arguments.shared import add_json
from resnet_trt_node.cli.support.parser import CommandParser

EXAMPLES = (
    ('resnet_trt doctor', 'what is there, what is missing, and how to get it'),
    ('resnet_trt doctor --json', 'the same for a program or a report'),
)


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    add_json(parser, 'print everything as JSON')
