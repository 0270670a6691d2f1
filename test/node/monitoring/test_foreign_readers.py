"""
What other programs read in our /diagnostics, by readers that do here what theirs do.

Those of greenwave_monitor 1.0.0 (ui_adaptor.py) and of diagnostic_remote_logging 4.4
(influx_line_protocol.hpp, as Telegraf parses it).
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from nodes.simulated_node import red, run
import pytest
from resnet_trt_node.node.monitoring.diagnostics import diagnostic_array
from resnet_trt_node.node.monitoring.health import Level
from resnet_trt_node.node.monitoring.listener import reports
from resnet_trt_node.node.monitoring.report import Report, Statistics, TopicState
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters
from resnet_trt_node.node.ros.topics.arrivals import ArrivalRates

pytestmark = pytest.mark.slow


class Line(NamedTuple):
    """One line of greenwave_monitor's dashboard, as it is printed."""

    status: str
    rate: str
    stamp_rate: str
    latency: str
    expected: str


def dashboard(message: DiagnosticArray, topics: set[str]) -> dict[str, Line]:
    """Return what the dashboard shows of a message, for the topics that the graph has."""
    shown = {}
    for status in message.status:
        values = {item.key: item.value for item in status.values}
        name = status.name
        topic = name if name.startswith('/') or '/' not in name else name[name.index('/'):]
        expected = float(values.get('expected_frequency', 'nan'))
        tolerance = float(values.get('tolerance', 'nan'))
        shown[topic] = Line(
            ('OK', 'WARN', 'ERROR', 'STALE')[status.level[0]],
            values.get('frame_rate_node', 'N/A'), values.get('frame_rate_msg', '-'),
            values.get('current_delay_from_realtime_ms', 'N/A'),
            f'{expected:.1f}Hz' if expected > 0 and tolerance >= 0 else '-')
    return {topic: line for topic, line in shown.items() if topic in topics}


def influx(message: DiagnosticArray) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the fields of each status by measurement and `name`, written to lines and read."""
    lines = []
    for status in message.status:
        node, _, name = status.name.partition(': ')
        namespace, _, measurement = node.rpartition('/')
        tags = [measurement, f'ns={namespace or measurement}', f'name={name}']
        tags += [f'hardware_id={status.hardware_id}'] * bool(status.hardware_id)
        fields = [f'level={status.level[0]}', f'message="{status.message}"']
        for item in status.values:
            number = re.fullmatch(r'-?\d+(\.\d*)?(e[-+]?\d+)?', item.value)
            fields.append(f'{item.key}={item.value if number else chr(34) + item.value + chr(34)}')
        lines.append(' '.join((','.join(tags).replace(' ', r'\ '), ','.join(fields), '1')))
    read = {}
    # A comma ends a tag, a space the tags, a quotation mark a text.
    tag, field = r'[^ ,=\\]+=(?:[^ ,=\\]|\\.)+', r'[^ ,=]+=(?:"[^"\\]*"|[-+.e\d]+)'
    for line in lines:
        whole = re.fullmatch(rf'([^ ,]+)((?:,{tag})+) ({field}(?:,{field})*) \d+', line)
        assert whole, line
        name = re.search(r',name=((?:[^ ,\\]|\\.)+)', whole[2])
        assert name
        read[whole[1], name[1].replace('\\', '')] = {
            key: float(value) if value[0] != '"' else value[1:-1]
            for key, value in re.findall(r'([^ ,=]+)=("[^"]*"|[^,]+)', whole[3])}
    return read


@pytest.fixture
def message(make_bench):
    """Return the diagnostics of /car/classifier: a camera that is well, and a silent one."""
    bench = make_bench(cameras=('front', 'left'))
    report = Statistics().report(bench.pipeline, {
        'front': TopicState('/car/front/image', 1, 1, arrivals=ArrivalRates(29.971, 30.0, 11.25)),
        'left': TopicState('/left/image', 0, 0, 'camera timeout: no image for 3.0 s')},
        NodeParameters())
    return diagnostic_array(Time(), '/car/classifier', 'a device', report)


def test_greenwave_monitor_shows_each_image_topic(message):
    assert dashboard(message, {'/car/front/image', '/left/image', '/other'}) == {
        '/car/front/image': Line('OK', '29.97', '30.0', '11.25', '-'),
        '/left/image': Line('ERROR', '0.0', '0.0', 'N/A', '-')}
    # It refuses to check the rate of a topic that a status is called as.
    assert not {status.name for status in message.status} & {'/car/front/image', '/left/image'}


def test_its_statuses_are_no_cameras_for_our_own_reader(message):
    report = reports(message)['/car/classifier']
    assert list(report.cameras) == ['front', 'left']
    assert report.cameras['front'].values['frame_rate_node'] == 29.97
    assert report.cameras['front'].values['current_delay_from_realtime_ms'] == 11.25
    assert 'current_delay_from_realtime_ms' not in report.cameras['left'].values


def test_influxdb_and_prometheus_get_numbers_by_camera(message):
    found = influx(message)
    assert found['classifier', 'camera front']['frame_rate_node'] == 29.97
    assert found['classifier', 'camera front']['received'] == 0
    assert found['classifier', 'camera left']['level'] == Level.ERROR
    assert found['classifier', '/left/image']['expected_frequency'] == 0
    assert found['classifier', 'classifier']['backend_state'] == 'working'


def test_a_node_without_a_pipeline_has_no_line_of_a_topic():
    message = diagnostic_array(
        Time(), '/classifier', '', Report(Level.WARN, 'not configured', {'state': 'unconfigured'}))
    assert [status.name for status in message.status] == ['/classifier: classifier']


def test_a_running_node_reports_the_rate_of_the_stamps_that_it_was_sent(peer):
    peer.listen_to_results()
    with run('-p', 'use_sim_time:=true') as node:
        peer.connect('image')
        for number in range(3):
            message = red(number)
            message.header.stamp.nanosec = 100_000_000 * number
            peer.publish('image', message)
        peer.spin_until(
            lambda: (peer.status() or {}).get('frame_rate_msg') == '10.0', 'the rate of 3 stamps')
        # No /clock: no time passes, and no stamp is of this time base.
        assert dashboard(peer.heard['/diagnostics'][-1], {'/image'}) == {
            '/image': Line('OK', '0.0', '10.0', 'N/A', '-')}
        assert node.stop() == 0
