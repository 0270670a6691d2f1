"""
One end of `measure_ingest.py`: a camera that publishes images, or a receiver that takes them.

Usage: ingest_process.py camera|receiver '{"width": 1920, "height": 1080, ...}'. The receiver
prints one line of JSON.
"""

from __future__ import annotations

from array import array
import json
from pathlib import Path
import resource
from statistics import median
import struct
import sys
from time import monotonic, monotonic_ns, sleep
from types import SimpleNamespace
from typing import Any

import numpy as np
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.imaging.decode import decode_message
from resnet_trt_node.imaging.resize import Resizer
from resnet_trt_node.node.process_tuning import configure_allocator
from sensor_msgs.msg import Image

#: Without a frame for so long the receiver ends.
SILENCE_S = 4.0
#: Frames in which both sides get warm; those after them are measured.
WARM_UP = 15


def publish(options: SimpleNamespace) -> None:
    """Publish frames with the monotonic clock in their stamps."""
    message = Image(
        height=options.height, width=options.width, step=3 * options.width, encoding='bgr8')
    message.header.frame_id = 'camera'
    size = 3 * options.width * options.height
    message.data = array('B', np.random.default_rng(0).bytes(size))
    # Serialised once, as a driver in C++ costs little too; the stamp follows the encapsulation.
    wire = bytearray(serialize_message(message))
    node = rclpy.create_node('camera')
    publisher = node.create_publisher(Image, 'image', QoSProfile(depth=5))
    while rclpy.ok() and not publisher.get_subscription_count():
        sleep(0.05)
    # The receiver's side of the match has no event in rclpy.
    sleep(0.5)
    due = monotonic()
    for _ in range(options.frames):
        due += 1.0 / options.rate_hz
        sleep(max(0.0, due - monotonic()))
        struct.pack_into('<iI', wire, 4, *divmod(monotonic_ns(), 10**9))
        publisher.publish(bytes(wire))
    # Ended by the receiver's end; what is on its way is still repeated until then.
    while rclpy.ok():
        sleep(0.05)


def view_cdr(wire: bytes) -> SimpleNamespace:
    """Return a little-endian sensor_msgs/Image whose data is a view of its serialisation."""
    view = memoryview(wire)[4:]
    sec, nanosec, length = struct.unpack_from('<iII', view)
    at = 12 + length
    at += -at % 4
    height, width, length = struct.unpack_from('<III', view, at)
    encoding = bytes(view[at + 12:at + 11 + length]).decode()
    at += 12 + length
    big_endian = view[at]
    at += 1 + -(at + 1) % 4
    step, size = struct.unpack_from('<II', view, at)
    return SimpleNamespace(
        header=SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec)), height=height,
        width=width, encoding=encoding, is_bigendian=big_endian, step=step,
        data=view[at + 8:at + 8 + size])


class Receiver:
    """Takes frames, fits each as the node does, and keeps the figures."""

    def __init__(self, options: SimpleNamespace) -> None:
        self._resizer = Resizer(ResizeRule(256, 224, 224))
        self._slot = np.empty((224, 224, 3), np.uint8)
        self._raw = options.reading == 'raw'
        self.latencies_ms: list[float] = []
        self._used: list[tuple[float, int]] = []

    def take(self, message: Any) -> None:
        """Fit one frame."""
        now_ns = monotonic_ns()
        if self._raw:
            message = view_cdr(message)
        stamp = message.header.stamp
        self.latencies_ms.append((now_ns - stamp.sec * 10**9 - stamp.nanosec) / 1e6)
        self._resizer.resize(decode_message(message), self._slot)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self._used.append((usage.ru_utime + usage.ru_stime, usage.ru_minflt))

    def figures(self) -> dict[str, float]:
        """Return counts, and per frame CPU time, page faults and the median latency."""
        figures: dict[str, float] = {'frames': len(self.latencies_ms), **_memory_mib()}
        measured = len(self._used) - 1 - WARM_UP
        if measured > 5:
            (cpu_before, faults_before), (cpu, faults) = self._used[WARM_UP], self._used[-1]
            figures.update(
                cpu_ms=(cpu - cpu_before) / measured * 1e3,
                faults=(faults - faults_before) / measured,
                latency_ms=median(self.latencies_ms[WARM_UP:]))
        return figures


def _memory_mib() -> dict[str, float]:
    """Return the process's own memory, and the most that it held with what it shares."""
    found = {}
    for line in Path('/proc/self/status').read_text().splitlines():
        name, _, value = line.partition(':')
        if name in ('RssAnon', 'VmHWM'):
            found[name] = int(value.split()[0]) / 1024
    return {'own_mib': found['RssAnon'], 'peak_mib': found['VmHWM']}


def receive(options: SimpleNamespace) -> None:
    """Take frames until all or none come any more, and print the figures."""
    node = rclpy.create_node('receiver')
    receiver = Receiver(options)
    qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE
                     if options.reliability == 'reliable' else ReliabilityPolicy.BEST_EFFORT)
    node.create_subscription(
        Image, 'image', receiver.take, qos, raw=options.reading == 'raw')
    count, since = 0, monotonic()
    while count < options.frames and monotonic() - since < SILENCE_S:
        rclpy.spin_once(node, timeout_sec=0.1)
        if len(receiver.latencies_ms) != count:
            count, since = len(receiver.latencies_ms), monotonic()
    print(json.dumps(receiver.figures()), flush=True)


def main() -> int:
    """Run from the command line."""
    options = SimpleNamespace(**json.loads(sys.argv[2]))
    if sys.argv[1] == 'receiver':
        configure_allocator()
    rclpy.init()
    try:
        {'camera': publish, 'receiver': receive}[sys.argv[1]](options)
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
