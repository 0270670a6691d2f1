"""A report as diagnostic_msgs: one status for the node and its backend, one for each camera."""

from __future__ import annotations

from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from resnet_trt_node.node.monitoring.report import Report
from resnet_trt_node.printable import LINE_LIMIT, printable

#: Follow the node's name in the names of the statuses; CAMERA_PART is followed by the camera's.
NODE_PART = 'classifier'
CAMERA_PART = 'camera'


def diagnostic_array(stamp: Any, node: str, hardware_id: str, report: Report) -> DiagnosticArray:
    """
    Return a report as a message.

    :param stamp: builtin_interfaces/Time of the message.
    :param node: the node's full name, the prefix of each status name.
    :param hardware_id: the backend's device, in words.
    :param report: the node's report, which holds those of its cameras.
    """
    statuses = [_status(f'{node}: {NODE_PART}', hardware_id, report)]
    statuses += [
        _status(f'{node}: {CAMERA_PART} {name}'.rstrip(), hardware_id, one)
        for name, one in report.cameras.items()]
    array = DiagnosticArray(status=statuses)
    array.header.stamp = stamp
    return array


def _status(name: str, hardware_id: str, report: Report) -> DiagnosticStatus:
    return DiagnosticStatus(
        level=bytes([report.level]), name=name, message=printable(report.message, LINE_LIMIT),
        hardware_id=printable(hardware_id), values=[
            KeyValue(key=key, value=printable(value, LINE_LIMIT))
            for key, value in report.values.items()])
