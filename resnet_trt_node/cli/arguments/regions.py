"""The options of regions, by the names of the node's parameters."""

from __future__ import annotations

from resnet_trt_node.cli.arguments.shared import add_node_options
from resnet_trt_node.cli.support.parser import CommandParser
from resnet_trt_node.cli.support.regions.options import REGION_OPTIONS


def add_regions(parser: CommandParser) -> None:
    """Add --regions and what it goes with."""
    group = parser.add_argument_group('regions')
    group.add_argument(
        '--regions', action='append', metavar='TOPIC',
        help='classify the boxes on this vision_msgs/Detection2DArray topic of a bag, in the '
        'images with the same stamps; repeatable, with --topic in the same order; without '
        '--topic, CAMERA/detections is paired with CAMERA/image or another image topic next to it')
    add_node_options(group, *REGION_OPTIONS)
