"""Parameters set while the node runs: what takes effect, what is refused and how to go on."""

from __future__ import annotations

from nodes.node_services import set_parameter
from nodes.simulated_node import number, red, run, text, wait_for_status
import pytest
from rcl_interfaces.msg import ParameterType, ParameterValue
from vision_msgs.msg import LabelInfo

pytestmark = pytest.mark.slow


def test_thresholds_make_levels_and_are_live(peer):
    peer.listen_to_results()
    with run('-p', 'backend:=simulated:20.0') as node:
        peer.connect('image')

        def level_with(name, value):
            assert set_parameter(peer, name, number(value)) == (True, '')

            def answered():
                peer.publish('image', red(1))
                return peer.status()['level'] != '0'
            peer.spin_until(answered, f'{name} to show')
            level, message = peer.status()['level'], peer.status()['message']
            assert set_parameter(peer, name, number(0.0 if 'latency' in name else 1.0))[0]
            peer.spin_until(lambda: peer.status()['level'] == '0', 'all well again')
            return level, message

        level, message = level_with('warn_latency_ms', 5.0)
        assert level == '1'
        assert 'more than 5 ms' in message
        level, message = level_with('error_latency_ms', 6.0)
        assert level == '2'
        assert 'more than 6 ms' in message
        # All frames are too old now.
        assert set_parameter(peer, 'max_age_ms', number(0.001)) == (True, '')
        level, message = level_with('error_drop_ratio', 0.25)
        assert level == '2'
        assert 'more than 25%' in message
        assert node.stop() == 0
    assert 'Traceback' not in node.log


def test_live_parameters_and_the_way_to_set_the_others(peer):
    peer.listen_to_results()
    with run() as node:
        wait_for_status(peer, 'state', 'active')
        peer.spin_until(lambda: peer.heard['label_info'], 'the labels')
        assert peer.heard['label_info'][-1].threshold == 0.0
        assert set_parameter(peer, 'score_threshold', number(0.25)) == (True, '')
        peer.spin_until(lambda: len(peer.heard['label_info']) == 2, 'the labels again')
        assert isinstance(peer.heard['label_info'][-1], LabelInfo)
        assert peer.heard['label_info'][-1].threshold == 0.25
        assert len(peer.heard['label_info'][-1].class_map) == 256
        for name, value in (
                ('max_wait_ms', 1.0), ('max_age_ms', 100.0), ('camera_timeout_sec', 1.0),
                ('unknown_below', 0.5),
                ('warn_drop_ratio', 0.1), ('reopen_backoff_sec', 0.1), ('max_reopen_attempts', 7),
                ('reopen_after_failures', 2), ('diagnostics_period_sec', 0.2)):
            assert set_parameter(peer, name, number(value)) == (True, ''), name
        for name, value in (
                ('batch_size', 2), ('queue_depth', 1), ('device', 1)):
            accepted, reason = set_parameter(peer, name, number(value))
            assert not accepted
            assert 'clean up' in reason
            assert 'configure' in reason
        accepted, reason = set_parameter(peer, 'autostart', ParameterValue(
            type=ParameterType.PARAMETER_BOOL, bool_value=False))
        assert not accepted
        assert 'process starts' in reason
        assert node.stop() == 0


@pytest.mark.parametrize('atomically', [False, True])
def test_a_wrong_type_or_name_is_answered_with_what_to_write(peer, atomically):
    with run('-p', 'autostart:=false') as node:
        for name, value, reason in (
                ('max_age_ms', number(5),
                 'max_age_ms: 5 is not a floating-point number: write 5.0'),
                ('max_age_ms', text('5'),
                 "max_age_ms: '5' is not a floating-point number: write 5.0"),
                ('max_age_ms', number(-1.0),
                 'max_age_ms: -1.0 is out of range, choose 0.0 to 60000.0'),
                ('top_k', number(3.0), 'top_k: 3.0 is not an integer: write 3'),
                ('cameras', text('front'),
                 "cameras: 'front' is not a list of strings: write [front]"),
                ('use_sim_time', number(1), 'use_sim_time: 1 is not true or false: write true'),
                ('max_age', number(5.0), "unknown parameter 'max_age': did you mean max_age_ms?"),
                ('image_topic', text('/cam'),
                 "unknown parameter 'image_topic': remap the topic, --ros-args -r image:=/cam, or "
                 'with ros2 launch image_topic:=/cam')):
            assert set_parameter(peer, name, value, atomically) == (False, reason)
        assert set_parameter(peer, 'max_age_ms', number(5.0), atomically) == (True, '')
        # None of ours: rclpy's own are left to it.
        assert set_parameter(peer, 'use_sim_time', ParameterValue(
            type=ParameterType.PARAMETER_BOOL, bool_value=False), atomically) == (True, '')
        assert node.stop() == 0
    assert 'Traceback' not in node.log


@pytest.mark.parametrize(('line', 'reason'), [
    ('max_age_ms: 5', 'max_age_ms: 5 is not a floating-point number: write 5.0'),
    ('cameras: front, left',
     "cameras: 'front, left' is not a list of strings: write [front, left]"),
    ('image_topic: /cam', 'remap the topic, --ros-args -r image:=/cam')])
def test_a_parameter_file_is_answered_the_same_way(tmp_path, line, reason):
    file = tmp_path / 'mine.yaml'
    file.write_text(f'/**:\n  ros__parameters:\n    {line}\n')
    with run('--params-file', str(file)) as node:
        assert node.wait() == 2
    assert reason in node.log
    assert 'Traceback' not in node.log


def test_what_is_no_list_and_a_deletion_are_refused(peer):
    with run('-p', 'autostart:=false') as node:
        for value in (
                ParameterValue(type=ParameterType.PARAMETER_STRING, string_value='front'),
                ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=5),
                ParameterValue(
                    type=ParameterType.PARAMETER_INTEGER_ARRAY, integer_array_value=[1, 2])):
            accepted, reason = set_parameter(peer, 'cameras', value)
            assert not accepted
            assert 'list of strings' in reason
        # What `ros2 param delete` sends; rclpy itself refuses it for parameters of a fixed type.
        accepted, reason = set_parameter(peer, 'cameras', ParameterValue())
        assert not accepted
        assert 'deleted' in reason
        assert not set_parameter(peer, 'top_k', ParameterValue())[0]
        assert set_parameter(peer, 'cameras', ParameterValue(
            type=ParameterType.PARAMETER_STRING_ARRAY, string_array_value=['front'])) == (True, '')
        # What `ros2 param set` makes of [].
        assert set_parameter(peer, 'cameras', ParameterValue(
            type=ParameterType.PARAMETER_BOOL_ARRAY)) == (True, '')
        assert node.stop() == 0
    assert 'Traceback' not in node.log
