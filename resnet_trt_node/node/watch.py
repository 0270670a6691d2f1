"""Listening to the /diagnostics of classifier nodes from outside."""

from __future__ import annotations

import os
from time import monotonic
from types import TracebackType
from typing import Any, Optional

from diagnostic_msgs.msg import DiagnosticArray
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from resnet_trt_node.errors import UsageError
from resnet_trt_node.node.diagnostics import CAMERA_PART, NODE_PART
from resnet_trt_node.node.health import Level
from resnet_trt_node.node.report import Report, Value


class DiagnosticsListener:
    """
    Keeps what each classifier node told last; a context manager with a ROS context of its own.

    :param node: listen to this one only, such as '/front/classifier'; a name without its
        namespace is enough. None listens to all.
    """

    def __init__(self, node: Optional[str] = None) -> None:
        self._wanted = node
        self._others: set[str] = set()
        #: The last report of each node by its full name, and monotonic() when it came.
        self.heard: dict[str, tuple[Report, float]] = {}
        self._context = rclpy.Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node(
            f'resnet_trt_top_{os.getpid()}', context=self._context, enable_rosout=False,
            start_parameter_services=False)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._take, 10)

    def spin(self, seconds: float) -> None:
        """Listen for so long."""
        end_sec = monotonic() + seconds
        while (left_sec := end_sec - monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_sec)

    def wait(self, timeout_sec: float) -> None:
        """
        Listen until a node was heard.

        :raises UsageError: if there is none in that time.
        """
        deadline = monotonic() + timeout_sec
        while not self.heard:
            left_sec = deadline - monotonic()
            if left_sec <= 0:
                raise UsageError(self._nothing(timeout_sec))
            self._executor.spin_once(timeout_sec=left_sec)

    def _nothing(self, timeout_sec: float) -> str:
        who = f'node {self._wanted}' if self._wanted else 'a classifier node'
        text = f'heard nothing of {who} on /diagnostics in {timeout_sec:g} s: '
        if self._others:
            return text + f'there are {", ".join(sorted(self._others))}'
        domain = os.environ.get('ROS_DOMAIN_ID', '0')
        return text + (
            f'check that it runs, and in the same ROS_DOMAIN_ID (here {domain}); '
            '--wait gives it more time')

    def _take(self, message: Any) -> None:
        for name, report in reports(message).items():
            if self._wanted is None or f'/{name}'.endswith(f'/{self._wanted.lstrip("/")}'):
                self.heard[name] = report, monotonic()
            else:
                self._others.add(name)

    def __enter__(self) -> DiagnosticsListener:
        """Return the listener itself."""
        return self

    def __exit__(
            self, kind: Optional[type[BaseException]], error: Optional[BaseException],
            trace: Optional[TracebackType]) -> None:
        """Leave ROS."""
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)


def reports(message: Any) -> dict[str, Report]:
    """
    Return the reports in a diagnostic_msgs/DiagnosticArray, by the node's full name.

    Statuses of other nodes are left out, and so are cameras without their node's own status,
    which may be on the way in another message of an aggregator.
    """
    found: dict[str, Report] = {}
    cameras: list[tuple[str, str, Report]] = []
    for status in message.status:
        node, separator, part = status.name.partition(': ')
        report = Report(
            Level(min(status.level[0], Level.ERROR)), status.message,
            {item.key: _parse(item.value) for item in status.values})
        if separator and part == NODE_PART:
            found[node] = report
        elif separator and part.split(' ')[0] == CAMERA_PART:
            cameras.append((node, part[len(CAMERA_PART):].strip(), report))
    for node, camera, report in cameras:
        if node in found:
            found[node].cameras[camera] = report
    return found


def _parse(text: str) -> Value:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
