"""What `resnet_trt inspect` takes."""  # noqa: A005  the command is called so

from __future__ import annotations

from pathlib import Path

from resnet_trt_node.cli.arguments.shared import add_json
from resnet_trt_node.cli.support.parser import CommandParser

EXAMPLES = (
    ('resnet_trt inspect models/resnet50.onnx', 'shapes, precision, cost, and missing metadata'),
    ('resnet_trt inspect models/resnet50.onnx --all-labels', 'with all class names'),
)


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    parser.add_argument_group('model').add_argument(
        'model', type=Path, metavar='MODEL', help='any ONNX file')
    parser.add_argument_group('output').add_argument(
        '--all-labels', action='store_true', help='print all class names')
    add_json(parser, 'print everything as JSON')
