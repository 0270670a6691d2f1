"""What `resnet_trt check` takes."""

from __future__ import annotations

from pathlib import Path

from resnet_trt_node.cli.arguments.shared import add_json
from resnet_trt_node.cli.support.parser import CommandParser

EXAMPLES = (
    ('resnet_trt check classifier.onnx', 'check whether it is deployable, and how to make it so'),
    ('resnet_trt check classifier.onnx --json', 'the same as JSON'),
)


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    parser.add_argument_group('model').add_argument(
        'model', type=Path, metavar='MODEL', help='any ONNX file')
    add_json(parser, 'print the result for each clause as JSON')
