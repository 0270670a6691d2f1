"""
A camera as users start them, of which many frames are lost; ends when its input does.

Usage: python -m bench.lossy_camera TOPIC WIDTH HEIGHT RATE_HZ

It publishes by best effort, on the middleware's default transport, which is what loses large
frames. `bench.cameras_process` is for measurements that must lose none.
"""

from __future__ import annotations

from array import array
import signal
import sys
from threading import Event, Thread
import time

import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image


def main() -> int:
    """Publish until the input ends."""
    # Ctrl-C reaches the whole group; who started us ends us by closing the input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    topic, width, height, rate_hz = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    ended = Event()
    Thread(target=_wait_for_end, args=(ended,), daemon=True).start()
    rclpy.init(args=[])
    node = rclpy.create_node('lossy_camera')
    publisher = node.create_publisher(Image, topic, qos_profile_sensor_data)
    image = Image(width=width, height=height, step=width * 3, encoding='rgb8')
    image.data = array('B', bytes(width * height * 3))
    while not ended.wait(1 / float(rate_hz)):
        image.header.stamp.sec, image.header.stamp.nanosec = divmod(time.time_ns(), 10**9)
        publisher.publish(image)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


def _wait_for_end(ended: Event) -> None:
    sys.stdin.read()
    ended.set()


if __name__ == '__main__':
    sys.exit(main())
