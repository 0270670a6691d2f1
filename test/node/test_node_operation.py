"""How the node reports its health, whatever cameras and clocks do; its own process, real DDS."""

from __future__ import annotations

import json
from time import monotonic

from nodes.node_process import NodeProcess
from nodes.node_services import lifecycle, set_parameter
from nodes.simulated_node import (
    ACTIVATE, check_sums, DEACTIVATE, number, red, run, wait_for_status)
import pytest
from resnet_trt_node.node.main import EXIT_DISABLED
from stand_ins.slow_backend import SlowBackend
from std_srvs.srv import Trigger

pytestmark = pytest.mark.slow


def test_statistics_and_diagnostics_have_the_same_numbers(peer):
    peer.listen_to_results('front/')
    with run('-p', 'cameras:=[front, left]', '-p', 'batch_size:=1') as node:
        peer.connect('front/image', camera='front/')
        stamped = red(7)
        stamped.header.stamp = peer.node.get_clock().now().to_msg()
        peer.publish('front/image', stamped)
        peer.publish('front/image', red(8))  # of 2023
        broken = red(9)
        broken.step = 1
        peer.publish('front/image', broken)
        wait_for_status(peer, 'front/answered', '2')
        wait_for_status(peer, 'front/dropped_malformed', '1')
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
        assert 0 < numbers['source_to_publish_p50_ms'] < 60_000
        assert numbers['source_to_publish_p50_ms'] == numbers['source_to_publish_p99_ms']
        for stage in ('queue', 'preprocess', 'batch', 'infer', 'publish', 'total'):
            assert 0 <= numbers[f'{stage}_p50_ms'] <= numbers[f'{stage}_p95_ms'] \
                <= numbers[f'{stage}_p99_ms']
        assert numbers['infer_p50_ms'] >= 1.0
        names = [one.name for one in peer.heard['/diagnostics'][-1].status]
        assert names == [
            '/classifier: classifier', '/classifier: camera front', '/classifier: camera left',
            'classifier: /front/image', 'classifier: /left/image']
        assert node.stop() == 0


def test_a_camera_timeout_is_reported_and_so_is_its_end(peer):
    peer.listen_to_results()
    with run('-p', 'camera_timeout_sec:=0.5') as node:
        wait_for_status(peer, 'state', 'active')
        peer.spin_until(lambda: 'no image for 0.5 s' in node.log, 'the first timeout')
        assert 'no publisher' in node.log
        peer.spin_until(
            lambda: 'no image yet' in peer.status()['message'], 'a diagnostic of it')
        assert peer.status()['level'] == '2'
        peer.connect('image')

        def while_it_sends(condition):
            # The watchdog looks twice a second, or later: one frame may be too old by then.
            peer.publish('image', red(1))
            return condition()
        peer.spin_until(
            lambda: while_it_sends(lambda: 'images again after' in node.log), 'the return')
        peer.spin_until(lambda: while_it_sends(lambda: peer.status()['level'] == '0'), 'all well')
        peer.spin_until(
            lambda: node.log.count('no image for') > node.log.count('images again after'),
            'another timeout')
        peer.spin_until(lambda: 'camera timeout' in peer.status()['message'], 'the diagnostic')
        assert 'it has 1 publisher' in node.log
        timeouts = node.log.count('no image for')
        assert timeouts > 1
        # A node that does not listen misses nothing.
        assert lifecycle(peer, DEACTIVATE)
        peer.spin_until(lambda: peer.status()['level'] == '0', 'inactive is no fault')
        assert set_parameter(peer, 'camera_timeout_sec', number(0.0)) == (True, '')
        assert node.stop() == 0
    assert node.log.count('no image for') == timeouts


@pytest.mark.usefixtures('receive')
@pytest.mark.parametrize('executor', ['auto', 'single_threaded'])
def test_a_clock_that_stands_still_keeps_nothing_from_being_reported(peer, executor):
    peer.listen_to_results()
    with run('-p', 'use_sim_time:=true', '-p', f'executor:={executor}',
             '-p', 'camera_timeout_sec:=0.5', '-p', 'backend:=simulated:1:1',
             '-p', 'reopen_backoff_sec:=0.01', '-p', 'max_reopen_attempts:=1',
             '-p', 'reopen_after_failures:=1') as node:
        peer.spin_until(lambda: 'no image for 0.5 s' in node.log, 'the timeout')
        peer.connect('image')
        stamp = peer.heard['/diagnostics'][-1].header.stamp
        assert (stamp.sec, stamp.nanosec) == (0, 0), 'stamps are of the ROS clock'
        assert set_parameter(peer, 'diagnostics_period_sec', number(0.2)) == (True, '')
        seen = len(peer.heard['/diagnostics'])
        peer.spin_until(lambda: len(peer.heard['/diagnostics']) > seen + 2, 'more diagnostics')

        def disabled():
            peer.publish('image', red(1))
            return peer.status()['state'] == 'unconfigured'
        peer.spin_until(disabled, 'the error state')
        assert 'disabled' in peer.status()['message']
        assert node.wait() == EXIT_DISABLED
    assert 'Traceback' not in node.log


#: The system clock steps back by an hour 1 s after the first line about a bad frame.
_STEP_BACK = (
    'from time import monotonic\n'
    'from rclpy.clock import Clock, ClockType\n'
    'from rclpy.duration import Duration\n'
    'from resnet_trt_node.node.classifier_node import ClassifierNode\n'
    'now, log, logged = Clock.now, ClassifierNode._log_bad_frame, []\n'
    'def stepped(self):\n'
    '    late = logged and monotonic() > logged[0] + 1\n'
    '    back = self.clock_type == ClockType.SYSTEM_TIME and late\n'
    '    return now(self) - Duration(seconds=3600 * bool(back))\n'
    'def noted(*arguments):\n'
    '    logged.append(monotonic())\n'
    '    log(*arguments)\n'
    'Clock.now, ClassifierNode._log_bad_frame = stepped, noted\n')


def test_bad_frames_are_reported_whatever_the_system_clock_does(peer):
    peer.listen_to_results()
    with NodeProcess('-p', 'backend:=simulated', '-p', 'image_reliability:=reliable', '-p',
                     'diagnostics_period_sec:=0.1', prepare=_STEP_BACK) as node:
        peer.connect('image')
        bad = red(1)
        bad.encoding = 'no_such'
        for count in range(1, 4):
            peer.publish('image', bad)
            peer.spin_until(
                lambda count=count: node.log.count('frame dropped') == count, 'a line')
            end = monotonic() + 1.5
            peer.spin_until(lambda end=end: monotonic() > end, 'the next second')
        assert node.log.count('frame dropped') == 3
        assert node.stop() == 0


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
        wait_for_status(peer, 'answered', '12')
        assert node.stop() == 0
    assert '12 frames received, 12 answered, dropped: none' in node.log
    assert '[WARN]' not in node.log
    assert '[ERROR]' not in node.log


def test_an_inactive_node_publishes_nothing(peer, tmp_path):
    peer.listen_to_results()
    backend = SlowBackend(tmp_path)
    # Without a time-out, after which it would be disabled.
    with run('-p', 'infer_timeout_ms:=0.0', '-p', 'batch_size:=1',
             prepare=backend.prepare) as node:
        peer.connect('image')
        backend.hang_in('_collect')
        peer.publish('image', red(1))
        peer.spin_until(lambda: backend.hangs_in('_collect'), 'the frame')
        assert lifecycle(peer, DEACTIVATE)
        peer.spin_until(
            lambda: '1 frames were still being inferred' in node.log,
            'the time-out')
        backend.let_go('_collect')
        wait_for_status(peer, 'dropped_refused', '1')
        wait_for_status(peer, 'level', '0')
        check_sums(peer.status())
        assert lifecycle(peer, ACTIVATE)
        peer.disconnect('image')
        peer.connect('image')
        peer.publish('image', red(2))
        peer.spin_until(lambda: peer.heard['classification'], 'an answer')
        assert [item.results[0].class_id for item in peer.heard['classification']] == ['red_002']
        wait_for_status(peer, 'answered', '1')
        assert node.stop() == 0
    assert '2 frames received, 1 answered, dropped: 1 refused' in node.log
