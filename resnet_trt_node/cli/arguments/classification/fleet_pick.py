"""What `resnet_trt fleet-pick` takes."""

from __future__ import annotations

from pathlib import Path

from resnet_trt_node.cli.arguments.classification.fleet_report import add_apart, add_results
from resnet_trt_node.cli.arguments.shared import add_json, add_output
from resnet_trt_node.cli.support.parser import CommandParser

#: What --uncertain sorts by.
CRITERIA = ('entropy', 'margin')
EXAMPLES = (
    ('resnet_trt fleet-pick results/ --uncertain -n 500 -o label_next/',
     'the 500 frames that the model was least sure of'),
    ('resnet_trt fleet-pick new/ --disagreeing old/ -o look_at/',
     'frames on which two models are sure and differ'),
    ('resnet_trt fleet-pick results/ --class tram -o trams/', 'frames of trams'),
)


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    add_results(parser)
    group = parser.add_argument_group('results')
    chosen = group.add_mutually_exclusive_group(required=True)
    chosen.add_argument(
        '--uncertain', nargs='?', const=CRITERIA[0], choices=CRITERIA,
        help='frames with the highest entropy, or with the smallest margin between the two best '
        f'scores; default: {CRITERIA[0]}')
    chosen.add_argument(
        '--disagreeing', type=Path, metavar='DIR',
        help='frames with another best class in the results of another run, the surest first')
    chosen.add_argument(
        '--class', dest='class_name', metavar='NAME',
        help='frames with this best class, the highest score first')
    group.add_argument(
        '-n', '--limit', type=int, default=500, metavar='N', help='how many frames, at most')
    add_apart(parser, 'results')
    add_output(parser, 'DIR', 'folder for the pictures and their table, frames.csv', required=True)
    parser.add_argument_group('output').add_argument(
        '--overwrite', action='store_true',
        help='write into a folder that is not empty; pictures of a former pick are removed')
    add_json(parser)
