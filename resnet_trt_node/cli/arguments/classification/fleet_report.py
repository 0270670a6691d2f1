"""What `resnet_trt fleet-report` takes."""

from __future__ import annotations

from pathlib import Path

from resnet_trt_node.cli.arguments.shared import add_json, add_output
from resnet_trt_node.cli.support.parser import CommandParser

EXAMPLES = (
    ('resnet_trt fleet-report results/', 'one run; writes results/report.html'),
    ('resnet_trt fleet-report new/ --against old/ -o change.html',
     'how the answers changed from the run in old/ to that in new/'),
)


def add_results(parser: CommandParser) -> None:
    """Add DIR, the results of a run, and where its bags are."""
    group = parser.add_argument_group('input')
    group.add_argument(
        'results', type=Path, metavar='DIR', help='folder that `resnet_trt fleet --output` wrote')
    group.add_argument(
        '--bags', type=Path, metavar='DIR',
        help='folder with the bags, if they are not where the run read them')
    group.add_argument(
        '--cache-gib', type=float, default=50.0, metavar='GIB',
        help='maximum disk space in TMPDIR for copies of bags from stores')


def add_apart(parser: CommandParser, group: str) -> None:
    """Add --apart, the shortest time between two frames."""
    parser.add_argument_group(group).add_argument(
        '--apart', type=float, default=1.0, metavar='S',
        help='seconds between two frames of a topic, at least: frames of the same moment look '
        'alike; 0 allows all')


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    add_results(parser)
    group = parser.add_argument_group('comparison')
    group.add_argument(
        '--against', type=Path, metavar='DIR',
        help='results of another run over the same bags, such as that of the model before')
    group.add_argument(
        '--frames', type=int, default=24, metavar='N',
        help='how many frames are shown on which both runs are sure and differ')
    add_apart(parser, 'comparison')
    parser.add_argument_group('results').add_argument(
        '--drives', type=int, default=30, metavar='N',
        help='how many drives are drawn over time; with --against those that changed most, '
        'otherwise the first')
    add_output(parser, 'OUT.html', 'file to write; default: report.html in DIR')
    add_json(parser, 'print the counts as JSON')
