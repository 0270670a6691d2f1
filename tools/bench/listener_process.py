"""
Who listens to the answers, in a process of its own.

Usage: python -m bench.listener_process CAMERAS_JSON RECORDS REGIONS

It writes one record for each answer, and one more to REGIONS where it answers regions. It says
when it is ready, and ends when its input ends.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
import re
import signal
import sys
from threading import Thread
import time

from bench.camera import Camera, DETECTED_CLASS, from_json
from bench.records import HEARD, RecordWriter, REGIONS
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from vision_msgs.msg import Classification, Detection2DArray

_RED = re.compile(r'red_(\d+)')
#: How far the named red value of a region may be off: of its border pixels, and by rounding.
_TOLERANCE = 2


def main() -> int:
    """Listen until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('bench_listener')
    records = RecordWriter(Path(sys.argv[2]), HEARD)
    regions = RecordWriter(Path(sys.argv[3]), REGIONS)
    for index, camera in enumerate(from_json(sys.argv[1])):
        kind, take = (
            (Detection2DArray, _RegionTaker(records, regions, index, camera)) if camera.regions
            else (Classification, partial(_take, records, index)))
        node.create_subscription(kind, camera.result_topic, take, QoSProfile(depth=1000))
    Thread(target=_end_with_input, daemon=True).start()
    print('ready', flush=True)
    try:
        rclpy.spin(node)
    except ExternalShutdownException:
        pass  # the input ended
    node.destroy_node()
    records.close()
    regions.close()
    return 0


def _end_with_input() -> None:
    sys.stdin.read()
    rclpy.try_shutdown()


def _take(records: RecordWriter, index: int, message: Classification) -> None:
    received_ns = time.time_ns()
    stamp = message.header.stamp
    red = _RED.fullmatch(message.results[0].class_id) if message.results else None
    records.write(
        index, int(red[1]) if red else -1, stamp.sec * 10**9 + stamp.nanosec, received_ns)


class _RegionTaker:
    """Writes down the answers to one camera's regions."""

    def __init__(
            self, records: RecordWriter, regions: RecordWriter, index: int,
            camera: Camera) -> None:
        self._records = records
        self._regions = regions
        self._index = index
        self._expected = [camera.expected(box) for box in camera.boxes()]

    def __call__(self, message: Detection2DArray) -> None:
        received_ns = time.time_ns()
        stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        named = [found.results[0].hypothesis.class_id if found.results else ''
                 for found in message.detections]
        mistaken = sum(
            abs(int(red[1]) - expected) > _TOLERANCE
            for name, expected in zip(named, self._expected) if (red := _RED.fullmatch(name)))
        answered = sum(name not in ('', DETECTED_CLASS) for name in named)
        self._regions.write(
            self._index, stamp_ns, received_ns, len(named), answered, mistaken)
        # Last: who reads this one finds the other.
        self._records.write(self._index, -1, stamp_ns, received_ns)


if __name__ == '__main__':
    sys.exit(main())
