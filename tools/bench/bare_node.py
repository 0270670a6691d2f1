"""
A node that only receives: what any classifier in rclpy pays for a frame before it does anything.

Usage: python -m bench.bare_node NAMESPACE CAMERA

It receives as `classifier_node` does, with its memory policy and the cheapest executor that rclpy
has, looks at no pixel and answers with the frame's header alone. Lines on its input are answered
with JSON; it ends with its input.
"""

from __future__ import annotations

import json
import signal
import sys
from threading import Thread

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from resnet_trt_node.allocator import configure_allocator
from resnet_trt_node.node.distribution import events_executor
from sensor_msgs.msg import Image
from vision_msgs.msg import Classification


class BareNode(Node):
    """
    Answers the images of one camera without looking at them.

    :param namespace: its namespace.
    :param camera: CAMERA/image is subscribed, CAMERA/classification published.
    """

    def __init__(self, namespace: str, camera: str) -> None:
        super().__init__('bare', namespace=namespace)
        self.publisher = self.create_publisher(Classification, f'{camera}/classification', 10)
        self.create_subscription(
            Image, f'{camera}/image', self._on_image, qos_profile_sensor_data)

    def _on_image(self, message: Image) -> None:
        self.publisher.publish(Classification(header=message.header))


def main() -> int:
    """Answer until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure_allocator()
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = BareNode(sys.argv[1], sys.argv[2])
    Thread(target=_talk, args=(node,), daemon=True).start()
    executor = (events_executor() or SingleThreadedExecutor)()
    executor.add_node(node)
    try:
        # As classifier_node spins: EventsExecutor's own spin() does not end with the context.
        while rclpy.ok():
            executor.spin_once(timeout_sec=0.2)
    except ExternalShutdownException:
        pass  # the input ended
    executor.shutdown(timeout_sec=0.5)
    node.destroy_node()
    return 0


def _talk(node: BareNode) -> None:
    """Tell who listens whenever asked, by a line, and end with the input."""
    for _ in sys.stdin:
        print(json.dumps({'listeners': node.publisher.get_subscription_count()}), flush=True)
    rclpy.try_shutdown()


if __name__ == '__main__':
    sys.exit(main())
