"""What `resnet_trt top` takes."""

from __future__ import annotations

from resnet_trt_node.cli.arguments.shared import add_json
from resnet_trt_node.cli.support.parser import CommandParser
from resnet_trt_node.cli.support.ros_command import add_enclave

EXAMPLES = (
    ('resnet_trt top', 'all classifier nodes, until Ctrl-C'),
    ('resnet_trt top --once --node /front/classifier', 'one report of one node'),
)


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    group = parser.add_argument_group('input')
    group.add_argument(
        '--node', metavar='NAME', help='show only this node, such as /front/classifier')
    group.add_argument(
        '--wait', type=float, default=5.0, metavar='SECONDS',
        help='how long to wait for the first diagnostics message')
    add_enclave(group)
    parser.add_argument_group('output').add_argument(
        '--once', action='store_true', help='show the next report and exit')
    add_json(parser, 'print the next report as JSON and exit')
