"""
A report as diagnostic_msgs: one status for the node and its backend, two for each camera.

The second of a camera is for the dashboards of NVIDIA's greenwave_monitor, which show one line for
each topic. What they read was taken from ui_adaptor.py of NVIDIA-ISAAC-ROS/greenwave_monitor
(version 1.0.0, commit 544eab0):

- The name of a status gives the topic: all of it if it begins with a slash, else what follows the
  first one, as NITROS writes it. Ours are of the second form. A status that is called as the topic
  alone would make greenwave_monitor refuse to check that topic's rate, and two nodes that read one
  topic would overwrite each other's status in every other viewer.
- `frame_rate_node` and `frame_rate_msg` are in Hz, by the clock of the node and by header stamps.
  `current_delay_from_realtime_ms` is the age of the last message when it arrived.
- `expected_frequency` in Hz and `tolerance` in percent are 0 where nothing is expected, as here:
  the node has thresholds of its own. The hardware_id is not read, and a key may be left out.
"""

from __future__ import annotations

from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from resnet_trt_node.node.monitoring.report import Report
from resnet_trt_node.text.printable import LINE_LIMIT, printable

#: Follow the node's name in the names of the statuses; CAMERA_PART is followed by the camera's.
NODE_PART = 'classifier'
CAMERA_PART = 'camera'
_GREENWAVE_KEYS = ('frame_rate_node', 'frame_rate_msg', 'current_delay_from_realtime_ms')
_NOTHING_EXPECTED = {'expected_frequency': 0.0, 'tolerance': 0.0}


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
    own_name = node.rpartition('/')[2]
    statuses += [
        _status(f'{own_name}: {one.values["image_topic"]}', hardware_id, Report(
            one.level, one.message, {
                **{key: one.values[key] for key in _GREENWAVE_KEYS if key in one.values},
                **_NOTHING_EXPECTED}))
        for one in report.cameras.values()]
    array = DiagnosticArray(status=statuses)
    array.header.stamp = stamp
    return array


def _status(name: str, hardware_id: str, report: Report) -> DiagnosticStatus:
    return DiagnosticStatus(
        level=bytes([report.level]), name=name, message=printable(report.message, LINE_LIMIT),
        hardware_id=printable(hardware_id), values=[
            KeyValue(key=key, value=printable(value, LINE_LIMIT))
            for key, value in report.values.items()])
