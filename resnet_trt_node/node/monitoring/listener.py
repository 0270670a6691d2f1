"""Subscribes to the /diagnostics of classifier nodes, for `resnet_trt top`."""

from __future__ import annotations

from math import isfinite
import os
from time import monotonic
from typing import Any, Optional

from diagnostic_msgs.msg import DiagnosticArray
import rclpy
from rclpy.executors import SingleThreadedExecutor
from resnet_trt_node.closing import Closing
from resnet_trt_node.errors import UsageError
from resnet_trt_node.node.monitoring.diagnostics import CAMERA_PART, NODE_PART
from resnet_trt_node.node.monitoring.health import Level
from resnet_trt_node.node.monitoring.report import Report, Value
from resnet_trt_node.node.ros.ros_errors import own_node
from resnet_trt_node.text.printable import LINE_LIMIT, printable, some

#: /diagnostics may carry anything. These limits on nodes, values of a status and digits of a
#: number bound the memory; this package's own messages stay far below them.
_MOST_NODES = 1000
_MOST_VALUES = 500
_MOST_DIGITS = 30
#: How many other nodes the error names if the wanted one does not publish.
_NAMED = 10


class DiagnosticsListener(Closing):
    """
    Keeps the last report of each classifier node; a context manager with its own ROS context.

    :param node: name of the only node to keep, such as '/front/classifier'; the namespace may be
        left out. None keeps all.
    :param enclave: the SROS2 enclave, as in `own_node`.
    """

    def __init__(self, node: Optional[str] = None, enclave: Optional[str] = None) -> None:
        self._wanted = node
        self._others: set[str] = set()
        #: The last report of each node by its full name, and monotonic() at its arrival.
        self.heard: dict[str, tuple[Report, float]] = {}
        self._node = own_node(f'resnet_trt_top_{os.getpid()}', enclave, rosout=False)
        self._executor = SingleThreadedExecutor(context=self._node.context)
        self._executor.add_node(self._node)
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._take, 10)

    def spin(self, seconds: float) -> None:
        """Receive messages for this time."""
        end_sec = monotonic() + seconds
        while (left_sec := end_sec - monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_sec)

    def wait(self, timeout_sec: float) -> None:
        """
        Receive messages until there is a report.

        :raises UsageError: if none arrives in time.
        """
        deadline = monotonic() + timeout_sec
        while not self.heard:
            left_sec = deadline - monotonic()
            if left_sec <= 0:
                raise UsageError(self._nothing(timeout_sec))
            self._executor.spin_once(timeout_sec=left_sec)

    def _nothing(self, timeout_sec: float) -> str:
        who = f'node {self._wanted}' if self._wanted else 'a classifier node'
        text = f'no /diagnostics from {who} in {timeout_sec:g} s: '
        if self._others:
            return text + f'there are {some(sorted(self._others), _NAMED)}'
        domain = os.environ.get('ROS_DOMAIN_ID', '0')
        return text + (
            f'check that it is running in the same ROS_DOMAIN_ID (here {domain}); '
            '--wait gives it more time')

    def _take(self, message: Any) -> None:
        for name, report in reports(message).items():
            if self._wanted is None or f'/{name}'.endswith(f'/{self._wanted.lstrip("/")}'):
                # The dict is ordered by the last report: the oldest one is removed.
                self.heard.pop(name, None)
                self.heard[name] = report, monotonic()
                if len(self.heard) > _MOST_NODES:
                    del self.heard[next(iter(self.heard))]
            elif len(self._others) < _MOST_NODES:
                self._others.add(name)

    def close(self) -> None:
        """End the node."""
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._node.context)


def reports(message: Any) -> dict[str, Report]:
    """
    Return the reports in a diagnostic_msgs/DiagnosticArray, by the node's full name.

    Statuses of other nodes are left out, and so are cameras without their node's own status, which
    an aggregator may send in another message. Names and texts are escaped and truncated; no other
    assumption holds for a status that only looks like one of this package.
    """
    found: dict[str, Report] = {}
    cameras: list[tuple[str, str, Any]] = []
    for status in message.status:
        node, separator, part = status.name.partition(': ')
        if separator and part == NODE_PART:
            found[printable(node)] = _report(status)
        elif separator and part.split(' ')[0] == CAMERA_PART:
            cameras.append((printable(node), printable(part[len(CAMERA_PART):].strip()), status))
    for node, camera, status in cameras:
        if node in found:
            found[node].cameras[camera] = _report(status)
    return found


def _report(status: Any) -> Report:
    return Report(
        Level(min(status.level[0], Level.ERROR)), printable(status.message, LINE_LIMIT),
        {printable(item.key): _parse(item.value) for item in status.values[:_MOST_VALUES]})


def _parse(text: str) -> Value:
    if len(text) <= _MOST_DIGITS:
        for kind in (int, float):
            try:
                value = kind(text)
            except ValueError:
                continue
            # JSON has no other numbers.
            if isfinite(value):
                return value
    return printable(text, LINE_LIMIT)
