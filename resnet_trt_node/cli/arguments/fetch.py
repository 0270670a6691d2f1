"""What `resnet_trt fetch` takes."""

from __future__ import annotations

from resnet_trt_node.cli.arguments.shared import add_json, add_output
from resnet_trt_node.cli.support.parser import CommandParser
from resnet_trt_node.downloads.models import INDEX_VARIABLE

EXAMPLES = (
    ('resnet_trt fetch --index https://example.org/models', 'list what the index has'),
    ('resnet_trt fetch resnet50 -o resnet50.onnx', f'from the index that ${INDEX_VARIABLE} names'),
    ('resnet_trt fetch resnet50 --print-path',
     'for model_path:=$(...) of a launch: fetched at the first start only'),
)


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    group = parser.add_argument_group('input')
    group.add_argument(
        'name', nargs='?', metavar='NAME', help='a model of the index; not given: list them')
    group.add_argument('--list', action='store_true', help='list the models of the index')
    group.add_argument(
        '--index', metavar='URL|DIR',
        help=f'http(s) address or folder of the index; not given: ${INDEX_VARIABLE}')
    add_output(
        parser, 'FILE', "file to write; not given: one in the user's cache, whose path is printed")
    parser.add_argument_group('output').add_argument(
        '--print-path', action='store_true', help='print the path of the model and nothing else')
    add_json(parser, 'print the result as JSON')
