"""
Who listens to the answers, in a process of its own.

Usage: python -m bench.listener_process CAMERAS_JSON RECORDS REGIONS

It writes one record for each answer, and one more to REGIONS where it answers regions. It says
when it is ready, and ends when its input ends.

Converting the answers to twenty regions takes it 3 ms. So it does that later, when no answers
come: otherwise it would be the limit of what it listens to.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
import re
import signal
import sys
from threading import Thread
import time
from typing import Any

from bench.camera import Camera, DETECTED_CLASS, from_json
from bench.records import HEARD, RecordWriter, REGIONS, STAMP, STAMP_AT
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from vision_msgs.msg import Classification, Detection2DArray

_RED = re.compile(r'red_(\d+)')
#: No answers for so long: those that came are read.
_QUIET_S = 0.1
#: How far the named red value of a region may be off: of its border pixels, and by rounding.
_TOLERANCE = 2


def main() -> int:
    """Listen until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('bench_listener')
    records = RecordWriter(Path(sys.argv[2]), HEARD)
    regions = _RegionReader(records, RecordWriter(Path(sys.argv[3]), REGIONS))
    for index, camera in enumerate(from_json(sys.argv[1])):
        kind, take = (
            (Detection2DArray, regions.taker(index, camera)) if camera.regions
            else (Classification, partial(_take, records, index)))
        node.create_subscription(
            kind, camera.result_topic, take, QoSProfile(depth=1000), raw=camera.regions > 0)
    Thread(target=_end_with_input, daemon=True).start()
    print('ready', flush=True)
    try:
        rclpy.spin(node)
    except ExternalShutdownException:
        pass  # the input ended
    node.destroy_node()
    records.close()
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


class _RegionReader:
    """
    Writes down the answers to regions.

    :param records: gets a record of kind `HEARD` for each answer when it comes.
    :param regions: gets a record of kind `REGIONS` for each, later.
    """

    def __init__(self, records: RecordWriter, regions: RecordWriter) -> None:
        self._records = records
        self._regions = regions
        self._expected: dict[int, list[int]] = {}
        self._heard: SimpleQueue[tuple[int, int, int, bytes]] = SimpleQueue()
        self._last_s = 0.0
        Thread(target=self._read, daemon=True).start()

    def taker(self, index: int, camera: Camera) -> Callable[[Any], None]:
        """Return what takes the serialised answers to one camera."""
        self._expected[index] = [camera.expected(box) for box in camera.boxes()]
        return partial(self._take, index)

    def _take(self, index: int, data: bytes) -> None:
        received_ns = time.time_ns()
        self._last_s = time.monotonic()
        seconds, nanoseconds = STAMP.unpack_from(data, STAMP_AT)
        stamp_ns = seconds * 10**9 + nanoseconds
        self._records.write(index, -1, stamp_ns, received_ns)
        self._heard.put((index, stamp_ns, received_ns, data))

    def _read(self) -> None:
        while True:
            index, stamp_ns, received_ns, data = self._heard.get()
            while (wait_s := self._last_s + _QUIET_S - time.monotonic()) > 0:
                time.sleep(wait_s)
            found = deserialize_message(data, Detection2DArray).detections
            named = [one.results[0].hypothesis.class_id if one.results else '' for one in found]
            mistaken = sum(
                abs(int(red[1]) - expected) > _TOLERANCE
                for name, expected in zip(named, self._expected[index])
                if (red := _RED.fullmatch(name)))
            answered = sum(name not in ('', DETECTED_CLASS) for name in named)
            self._regions.write(index, stamp_ns, received_ns, len(named), answered, mistaken)


if __name__ == '__main__':
    sys.exit(main())
