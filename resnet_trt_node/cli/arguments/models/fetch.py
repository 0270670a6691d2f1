"""What `resnet_trt fetch` takes."""

from __future__ import annotations

from resnet_trt_node.cli.arguments.shared import add_json, add_output
from resnet_trt_node.cli.support.parser import CommandParser
from resnet_trt_node.downloads.models import INDEX_VARIABLE

EXAMPLES = (
    ('resnet_trt fetch --index https://example.org/models', 'list the models in the index'),
    ('resnet_trt fetch resnet50 -o resnet50.onnx', f'from the index in ${INDEX_VARIABLE}'),
    ('resnet_trt fetch resnet50 --print-path',
     'for model_path:=$(...) in a launch command: downloads only once'),
)


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    group = parser.add_argument_group('input')
    group.add_argument(
        'name', nargs='?', metavar='NAME',
        help='name of a model in the index; default: list all models')
    group.add_argument('--list', action='store_true', help='list the models in the index')
    group.add_argument(
        '--index', metavar='URL|DIR',
        help=f'http(s) address or folder of the index; default: ${INDEX_VARIABLE}')
    add_output(
        parser, 'FILE', "output file; default: a file in the user's cache, whose path is printed")
    parser.add_argument_group('output').add_argument(
        '--print-path', action='store_true', help='print only the path of the model')
    add_json(parser, 'print the result as JSON')
