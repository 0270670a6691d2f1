"""What `resnet_trt replay` takes."""

from __future__ import annotations

from resnet_trt_node.bag.replay_qos import DEFAULT_DEPTH, RELIABILITIES
from resnet_trt_node.cli.arguments.shared import add_json
from resnet_trt_node.cli.support.parser import CommandParser
from resnet_trt_node.cli.support.ros_command import add_enclave

EXAMPLES = (
    ('resnet_trt replay drive --topic /camera/image_raw:=/image',
     'publish one topic of a bag under another name'),
    ('resnet_trt replay drive --rate 2 --loop', 'play twice as fast, repeatedly until Ctrl-C'),
)


def add_arguments(parser: CommandParser) -> None:
    """Add the command's arguments."""
    renamed = 'write --topic A:=B to publish topic A under the name B'
    parser.absent.update(dict.fromkeys(('-r', '-p', '--remap'), renamed))
    group = parser.add_argument_group('input')
    group.add_argument(
        'bag', metavar='BAG',
        help='rosbag2 folder, single .mcap or .db3 file, or ROS 1 .bag file')
    group.add_argument(
        '--topic', action='append', default=[], metavar='A[:=B]',
        help='publish only recorded topic A, under the name B; repeatable')
    group = parser.add_argument_group('playback')
    group.add_argument(
        '--rate', type=float, default=1.0, help='playback speed; 2 plays twice as fast')
    group.add_argument('--loop', action='store_true', help='repeat until Ctrl-C')
    group.add_argument(
        '--wait', type=float, default=5.0, metavar='SECONDS',
        help='how long to wait for a subscription to each topic; 0 starts immediately')
    group.add_argument(
        '--clock', action='store_true',
        help="publish the bag's time on /clock, for nodes with use_sim_time")
    group.add_argument(
        '--restamp', action='store_true', help='replace header stamps with the current time')
    group.add_argument(
        '--reliability', choices=RELIABILITIES, default=RELIABILITIES[0],
        help='QoS reliability of the publishers; recorded uses that in the bag')
    group.add_argument(
        '--depth', type=int, default=DEFAULT_DEPTH, help='history depth of the publishers')
    add_enclave(group)
    add_json(parser, 'print a JSON report at the end, and no progress bar')
