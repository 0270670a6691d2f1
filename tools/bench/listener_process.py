"""
Who listens to the answers, in a process of its own.

Usage: python -m bench.listener_process CAMERAS_JSON RECORDS

It writes one record for each answer, says when it is ready and ends when its input ends.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
import re
import signal
import sys
from threading import Thread
import time

from bench.camera import from_json
from bench.records import HEARD, RecordWriter
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from vision_msgs.msg import Classification

_RED = re.compile(r'red_(\d+)')


def main() -> int:
    """Listen until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('bench_listener')
    records = RecordWriter(Path(sys.argv[2]), HEARD)
    for index, camera in enumerate(from_json(sys.argv[1])):
        node.create_subscription(
            Classification, camera.result_topic, partial(_take, records, index),
            QoSProfile(depth=1000))
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


if __name__ == '__main__':
    sys.exit(main())
