"""The options of regions, by the names of the node's parameters."""

from __future__ import annotations

from resnet_trt_node.cli.arguments.shared import add_node_options
from resnet_trt_node.cli.support.parser import CommandParser
from resnet_trt_node.cli.support.regions.options import REGION_OPTIONS


def add_regions(parser: CommandParser) -> None:
    """Add --regions and what it goes with."""
    group = parser.add_argument_group('regions of the images of a bag')
    group.add_argument(
        '--regions', action='append', metavar='TOPIC',
        help='classify the boxes of this topic of vision_msgs/Detection2DArray in the images of '
        'the same stamps; may be given several times, --topic as often and in the same order; '
        'without --topic CAMERA/detections goes with CAMERA/image, or another topic beside it')
    add_node_options(group, *REGION_OPTIONS)
