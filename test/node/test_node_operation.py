"""How the node tells how it is, and how it goes on or gives up; its own process, real DDS."""

from __future__ import annotations

import json

from lifecycle_msgs.msg import TransitionEvent
from node_process import image, NodeProcess, Peer
import numpy as np
import pytest
from rcl_interfaces.msg import ParameterType, ParameterValue
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger
from test_node_process import lifecycle, set_parameter, state
from tiny_model import write_tiny_model
from vision_msgs.msg import LabelInfo

DROPS = ('superseded', 'stale', 'malformed', 'failed', 'refused')
CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE = 1, 2, 3, 4


@pytest.fixture
def peer():
    peer = Peer()
    yield peer
    peer.close()


def run(*arguments: str) -> NodeProcess:
    """Start a node with the simulated backend, which answers the mean red value."""
    # A busy machine may take seconds between two images; silence has a test of its own.
    return NodeProcess(
        '-p', 'camera_timeout_sec:=0.0', '-p', 'backend:=simulated', '-p', 'simulated_ms:=1.0',
        '-p', 'queue_depth:=100', '-p', 'image_reliability:=reliable',
        '-p', 'diagnostics_period_sec:=0.1', *arguments)


def red(value: int, height: int = 48, width: int = 64, encoding: str = 'rgb8') -> Image:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, :, 0 if encoding == 'rgb8' else 2] = value
    return image(pixels, value, encoding=encoding)


def number(value: float) -> ParameterValue:
    kind = ParameterType.PARAMETER_INTEGER if isinstance(value, int) \
        else ParameterType.PARAMETER_DOUBLE
    return ParameterValue(type=kind, integer_value=int(value), double_value=float(value))


def told(peer: Peer, key: str, value: str) -> None:
    peer.spin_until(lambda: (peer.status() or {}).get(key) == value, f'{key} {value}')


def check_sums(numbers: dict) -> None:
    assert int(numbers['received']) == int(numbers['answered']) + int(
        numbers['in_progress']) + sum(int(numbers[f'dropped_{drop}']) for drop in DROPS)


def test_statistics_and_diagnostics_tell_the_same_numbers(peer):
    peer.listen_to_results('front/')
    with run('-p', 'cameras:=[front, left]', '-p', 'max_batch_size:=1') as node:
        peer.connect('front/image', camera='front/')
        stamped = red(7)
        stamped.header.stamp = peer.node.get_clock().now().to_msg()
        peer.publish('front/image', stamped)
        peer.publish('front/image', red(8))  # of 2023
        broken = red(9)
        broken.step = 1
        peer.publish('front/image', broken)
        told(peer, 'front/answered', '2')
        told(peer, 'front/dropped_malformed', '1')
        answer = peer.call(Trigger, '/classifier/statistics', Trigger.Request())
        assert answer.success
        numbers = json.loads(answer.message)
        status = peer.status()
        assert numbers['node'] == '/classifier'
        for key in ('received', 'answered', 'in_progress', 'batches', 'backend', 'state', 'model'):
            assert str(numbers[key]) == status[key], key
        assert (numbers['state'], numbers['backend']) == ('active', 'simulated 1')
        assert numbers['batches'] == 2
        assert numbers['batch_sizes'] == '1:2'
        for each in (numbers, *numbers['cameras'].values()):
            check_sums(each)
        front, left = numbers['cameras']['front'], numbers['cameras']['left']
        assert (front['received'], front['answered'], left['received']) == (3, 2, 0)
        assert front['unusable_stamps'] == 1
        assert front['lost_in_transport'] == 0
        assert front['image_topic'] == '/front/image'
        assert (front['publishers'], left['publishers']) == (1, 0)
        # From the one stamp of now; the other stages from both.
        assert 0 < numbers['source_to_publish_p50_ms'] < 5000
        assert numbers['source_to_publish_p50_ms'] == numbers['source_to_publish_p99_ms']
        for stage in ('queue', 'fit', 'batch', 'infer', 'publish', 'total'):
            assert 0 <= numbers[f'{stage}_p50_ms'] <= numbers[f'{stage}_p95_ms'] \
                <= numbers[f'{stage}_p99_ms']
        assert numbers['infer_p50_ms'] >= 1.0
        names = [one.name for one in peer.heard['/diagnostics'][-1].status]
        assert names == [
            '/classifier: classifier', '/classifier: camera front', '/classifier: camera left']
        assert node.stop()[0] == 0


def test_a_silent_camera_is_told_and_so_is_its_return(peer):
    peer.listen_to_results()
    with run('-p', 'camera_timeout_sec:=0.5') as node:
        told(peer, 'state', 'active')
        peer.spin_until(lambda: 'no image for 0.5 s' in node.log, 'the first silence')
        assert 'it has no publisher' in node.log
        peer.spin_until(
            lambda: 'no image yet' in peer.status()['message'], 'a diagnostic of it')
        assert peer.status()['level'] == '2'
        peer.connect('image')
        peer.publish('image', red(1))
        peer.spin_until(lambda: 'images again after' in node.log, 'the return')
        peer.spin_until(lambda: peer.status()['level'] == '0', 'all well')
        peer.spin_until(lambda: node.log.count('no image for') == 2, 'the second silence')
        peer.spin_until(lambda: 'silent: no image for' in peer.status()['message'], 'it told')
        assert 'it has 1 publisher' in node.log
        # A node that does not listen misses nothing.
        assert lifecycle(peer, DEACTIVATE)
        peer.spin_until(lambda: peer.status()['level'] == '0', 'inactive is no fault')
        assert set_parameter(peer, 'camera_timeout_sec', number(0.0)) == (True, '')
        assert node.stop()[0] == 0
    assert node.log.count('no image for') == 2


@pytest.mark.parametrize('executor', ['auto', 'single_threaded'])
def test_a_clock_that_stands_still_keeps_nothing_from_being_told(peer, executor):
    peer.listen_to_results()
    with run('-p', 'use_sim_time:=true', '-p', f'executor:={executor}',
             '-p', 'camera_timeout_sec:=0.5', '-p', 'simulated_fail_every:=1',
             '-p', 'reopen_backoff_sec:=0.01', '-p', 'max_reopen_attempts:=1',
             '-p', 'reopen_after_failures:=1') as node:
        peer.spin_until(lambda: 'no image for 0.5 s' in node.log, 'the silence')
        peer.connect('image')
        stamp = peer.heard['/diagnostics'][-1].header.stamp
        assert (stamp.sec, stamp.nanosec) == (0, 0), 'stamps are of the ROS clock'
        assert set_parameter(peer, 'diagnostics_period_sec', number(0.2)) == (True, '')
        seen = len(peer.heard['/diagnostics'])
        peer.spin_until(lambda: len(peer.heard['/diagnostics']) > seen + 2, 'more diagnostics')

        def given_up():
            peer.publish('image', red(1))
            return peer.status()['state'] == 'unconfigured'
        peer.spin_until(given_up, 'the error state')
        assert 'the backend was given up' in peer.status()['message']
        assert node.stop()[0] == 0
    assert 'Traceback' not in node.log


def test_a_publisher_of_incompatible_qos_is_told_until_it_is_gone(peer):
    peer.listen_to_diagnostics()
    with run() as node:
        told(peer, 'state', 'active')
        publisher = peer.node.create_publisher(
            Image, 'image', QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
        peer.spin_until(lambda: 'incompatible QoS' in peer.status()['message'], 'a diagnostic')
        message = peer.status()['message']
        assert message.startswith('/image: peer offers')
        assert 'reliable subscription' in message
        assert 'set the parameter image_reliability to best_effort' in message
        assert peer.status()['level'] == '1'
        peer.spin_until(lambda: 'incompatible RELIABILITY policy' in node.log, 'a log line')
        peer.node.destroy_publisher(publisher)
        peer.spin_until(lambda: peer.status()['level'] == '0', 'all well again')
        assert node.stop()[0] == 0


def test_qos_is_overridden_by_the_standard_parameters(peer):
    with run('-p', 'qos_overrides./image.subscription.reliability:=best_effort',
             '-p', 'qos_overrides./classification.publisher.reliability:=best_effort') as node:
        subscription, = peer.spin_until(
            lambda: peer.node.get_subscriptions_info_by_topic('/image'), 'the subscription')
        # Against image_reliability, which `run` sets to reliable.
        assert subscription.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
        # Each end is discovered by itself, in any order.
        publisher, = peer.spin_until(
            lambda: peer.node.get_publishers_info_by_topic('/classification'), 'the publisher')
        assert publisher.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
        assert node.stop()[0] == 0


def test_unusable_qos_leaves_nothing_behind_and_can_be_corrected(peer):
    peer.listen_to_results('left/')
    results = 'qos_overrides./left/classification.publisher.depth'
    images = 'qos_overrides./left/image.subscription.reliability'
    with run('-p', 'autostart:=false', '-p', 'cameras:=[front, left]',
             '-p', f'{results}:=-3', '-p', f'{images}:=foo', '-p',
             'qos_overrides./left/imgae.subscription.depth:=2') as node:
        for _ in range(2):
            assert not lifecycle(peer, CONFIGURE)
            assert state(peer) == 'unconfigured'
        peer.spin_until(
            lambda: not peer.node.count_publishers('/front/classification'), 'their end')
        assert set_parameter(peer, results, number(3)) == (True, '')
        assert lifecycle(peer, CONFIGURE)
        assert not lifecycle(peer, ACTIVATE)
        assert state(peer) == 'inactive'
        peer.spin_until(lambda: not peer.node.count_subscribers('/front/image'), 'their end')
        peer.spin_until(lambda: 'cannot activate: /left/image: rclpy' in node.log, 'the reason')
        assert set_parameter(peer, images, ParameterValue(
            type=ParameterType.PARAMETER_STRING, string_value='reliable')) == (True, '')
        assert lifecycle(peer, ACTIVATE)
        peer.connect('left/image', camera='left/')
        peer.publish('left/image', red(7))
        peer.spin_until(lambda: peer.heard['left/classification'], 'an answer')
        assert node.stop()[0] == 0
    assert 'Traceback' not in node.log
    assert (
        'qos_overrides./left/imgae.subscription.depth changes nothing in this node; what can be '
        'overridden is /front/image.subscription, /front/classification.publisher, ') in node.log


def test_a_policy_that_cannot_be_overridden_is_refused(peer):
    name = 'qos_overrides./classification.publisher.relaibility'
    with run('-p', f'{name}:=reliable') as node:
        assert node.wait() == 2
    assert f'{name}: what can be overridden is history, depth, reliability' in node.log


def test_publishers_that_come_go_and_change_are_no_event(peer):
    peer.listen_to_results()
    with run() as node:
        for value, (height, width, encoding) in enumerate((
                (48, 64, 'rgb8'), (480, 640, 'rgb8'), (30, 500, 'bgr8'), (1, 1, 'rgb8'))):
            peer.connect('image')
            for repeat in range(3):
                peer.publish('image', red(40 * value + repeat, height, width, encoding))
            results = peer.heard['classification']
            peer.spin_until(lambda: len(results) == 3 * value + 3, 'the answers')  # noqa: B023
            peer.disconnect('image')
        assert [item.results[0].class_id for item in results] == [
            f'red_{40 * value + repeat:03d}' for value in range(4) for repeat in range(3)]
        told(peer, 'answered', '12')
        assert node.stop()[0] == 0
    assert '12 frames received, 12 answered, dropped: none' in node.log
    assert '[WARN]' not in node.log
    assert '[ERROR]' not in node.log


def test_thresholds_make_levels_and_are_live(peer):
    peer.listen_to_results()
    with run('-p', 'simulated_ms:=20.0') as node:
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
        assert 'is more than 25%' in message
        assert node.stop()[0] == 0
    assert 'Traceback' not in node.log


def test_live_parameters_and_the_way_to_set_the_others(peer):
    peer.listen_to_results()
    with run() as node:
        told(peer, 'state', 'active')
        peer.spin_until(lambda: peer.heard['label_info'], 'the labels')
        assert peer.heard['label_info'][-1].threshold == 0.0
        assert set_parameter(peer, 'score_threshold', number(0.25)) == (True, '')
        peer.spin_until(lambda: len(peer.heard['label_info']) == 2, 'the labels again')
        assert isinstance(peer.heard['label_info'][-1], LabelInfo)
        assert peer.heard['label_info'][-1].threshold == 0.25
        assert len(peer.heard['label_info'][-1].class_map) == 256
        for name, value in (
                ('max_wait_ms', 1.0), ('max_age_ms', 100.0), ('camera_timeout_sec', 1.0),
                ('warn_drop_ratio', 0.1), ('reopen_backoff_sec', 0.1), ('max_reopen_attempts', 7),
                ('reopen_after_failures', 2), ('diagnostics_period_sec', 0.2)):
            assert set_parameter(peer, name, number(value)) == (True, ''), name
        for name, value in (
                ('max_batch_size', 2), ('queue_depth', 1), ('simulated_ms', 1.0)):
            accepted, reason = set_parameter(peer, name, number(value))
            assert not accepted
            assert 'deactivate and clean up' in reason
            assert 'configure and activate' in reason
        accepted, reason = set_parameter(peer, 'autostart', ParameterValue(
            type=ParameterType.PARAMETER_BOOL, bool_value=False))
        assert not accepted
        assert 'when the process starts' in reason
        assert node.stop()[0] == 0


def test_what_is_no_list_and_a_deletion_are_refused(peer):
    with run('-p', 'autostart:=false') as node:
        for value in (
                ParameterValue(type=ParameterType.PARAMETER_STRING, string_value='front'),
                ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=5),
                ParameterValue(
                    type=ParameterType.PARAMETER_INTEGER_ARRAY, integer_array_value=[1, 2])):
            accepted, reason = set_parameter(peer, 'cameras', value)
            assert not accepted
            assert 'is not a list of strings' in reason
        # What `ros2 param delete` sends; rclpy itself refuses it for parameters of a fixed type.
        accepted, reason = set_parameter(peer, 'cameras', ParameterValue())
        assert not accepted
        assert 'cameras cannot be deleted' in reason
        assert not set_parameter(peer, 'top_k', ParameterValue())[0]
        assert set_parameter(peer, 'cameras', ParameterValue(
            type=ParameterType.PARAMETER_STRING_ARRAY, string_array_value=['front'])) == (True, '')
        # What `ros2 param set` makes of [].
        assert set_parameter(peer, 'cameras', ParameterValue(
            type=ParameterType.PARAMETER_BOOL_ARRAY)) == (True, '')
        assert node.stop()[0] == 0
    assert 'Traceback' not in node.log


def test_an_inactive_node_publishes_nothing(peer):
    peer.listen_to_results()
    with run('-p', 'simulated_ms:=2000.0', '-p', 'max_batch_size:=1') as node:
        peer.connect('image')
        peer.publish('image', red(1))
        told(peer, 'in_progress', '1')
        assert lifecycle(peer, DEACTIVATE)
        peer.spin_until(
            lambda: '1 frames were still being inferred after 1.0 s and get no answer' in node.log,
            'the time-out')
        told(peer, 'dropped_refused', '1')
        assert peer.status()['level'] == '0'
        check_sums(peer.status())
        assert lifecycle(peer, ACTIVATE)
        peer.disconnect('image')
        peer.connect('image')
        peer.publish('image', red(2))
        peer.spin_until(lambda: peer.heard['classification'], 'an answer')
        assert [item.results[0].class_id for item in peer.heard['classification']] == ['red_002']
        told(peer, 'answered', '1')
        assert node.stop()[0] == 0
    assert '2 frames received, 1 answered, dropped: 1 refused' in node.log


def went_through(peer, *states):
    """Wait until the last states were these: diagnostics may tell before the events arrive."""
    def steps():
        return [event.goal_state.label for event in peer.heard['/classifier/transition_event']]
    peer.spin_until(lambda: tuple(steps()[-len(states):]) == states, ' -> '.join(states))


@pytest.mark.parametrize('autostart', [True, False])
def test_a_backend_that_keeps_failing_leads_to_the_error_state_and_back(peer, autostart):
    peer.listen_to_results('front/')
    peer.listen('/classifier/transition_event', TransitionEvent)
    with run(
            '-p', 'simulated_fail_every:=1', '-p', 'reopen_backoff_sec:=0.01',
            '-p', 'max_reopen_attempts:=2', '-p', 'reopen_after_failures:=1',
            '-p', 'cameras:=[front]', '-p', f'autostart:={str(autostart).lower()}') as node:
        if not autostart:
            assert lifecycle(peer, CONFIGURE)
            assert lifecycle(peer, ACTIVATE)
        peer.connect('front/image', camera='front/')

        def given_up():
            peer.publish('front/image', red(1))
            return (peer.status() or {}).get('state') == 'unconfigured'
        peer.spin_until(given_up, 'the error state')
        assert peer.status()['level'] == '2'
        assert 'the backend was given up after 2 attempts' in peer.status()['message']
        assert state(peer) == 'unconfigured'
        went_through(peer, 'deactivating', 'errorprocessing', 'unconfigured')
        # Its lines come through a pipe, later than what it publishes.
        peer.spin_until(lambda: 'given up after 2 attempts' in node.log, 'the log')
        peer.spin_until(lambda: 'frames received' in node.log, 'the account')
        account = node.log[node.log.index('frames received'):]
        assert '0 answered' in account
        assert 'failed' in account
        # The reason is mended, and a manager starts it again.
        assert set_parameter(peer, 'simulated_fail_every', number(0)) == (True, '')
        assert lifecycle(peer, CONFIGURE)
        assert lifecycle(peer, ACTIVATE)
        peer.disconnect('front/image')
        peer.connect('front/image', camera='front/')
        peer.publish('front/image', red(77))
        results = peer.heard['front/classification']
        peer.spin_until(lambda: results, 'an answer')
        assert results[-1].results[0].class_id == 'red_077'
        peer.spin_until(lambda: peer.status()['level'] == '0', 'all well again')
        assert node.stop()[0] == 0
    assert 'Traceback' not in node.log


def test_a_backend_given_up_while_inactive_leads_to_the_error_state_too(peer, tmp_path):
    peer.listen_to_results()
    peer.listen('/classifier/transition_event', TransitionEvent)
    model = write_tiny_model(tmp_path / 'tiny.onnx')
    with run(
            '-p', f'model_path:={model}', '-p', 'simulated_fail_every:=1',
            '-p', 'reopen_backoff_sec:=0.3', '-p', 'max_reopen_attempts:=2',
            '-p', 'reopen_after_failures:=1') as node:
        peer.connect('image')
        model.unlink()
        peer.publish('image', red(1))
        told(peer, 'backend_state', 'opening again')
        assert peer.status()['level'] == '2'
        assert lifecycle(peer, DEACTIVATE)
        assert state(peer) == 'inactive'
        told(peer, 'state', 'unconfigured')
        assert 'no model at' in peer.status()['message']
        went_through(peer, 'cleaningup', 'errorprocessing', 'unconfigured')
        # The model is still missing, and a manager that tries is told so.
        assert not lifecycle(peer, CONFIGURE)
        peer.spin_until(
            lambda: peer.status()['message'].startswith('cannot configure: no model at'),
            'the reason')
        assert node.stop()[0] == 0
    assert '1 frames received, 0 answered, dropped: 1 failed' in node.log
    assert 'Traceback' not in node.log


def test_batches_that_fail_once_cost_no_frame(peer):
    peer.listen_to_results()
    # Between a failure and its second attempt two other batches may be submitted, not four.
    with run('-p', 'simulated_fail_every:=5', '-p', 'max_batch_size:=1') as node:
        peer.connect('image')
        for value in range(30):
            peer.publish('image', red(value))
        results = peer.heard['classification']
        peer.spin_until(lambda: len(results) == 30, 'all answers')
        assert [item.results[0].class_id for item in results] == [
            f'red_{value:03d}' for value in range(30)]
        peer.spin_until(lambda: int(peer.status()['retried_batches']) > 0, 'its telling')
        assert peer.status()['failed_batches'] == '0'
        assert node.stop()[0] == 0
    assert '30 frames received, 30 answered, dropped: none' in node.log
