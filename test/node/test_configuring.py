"""While a model is opened, for as long as it takes, the node answers and reports its progress."""

from __future__ import annotations

import json
import signal

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nodes.node_process import NodeProcess
from nodes.node_services import lifecycle, set_parameter, state
from nodes.simulated_node import (
    ACTIVATE, CLEANUP, CONFIGURE, number, red, SIMULATED, wait_for_status)
import pytest
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters
import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from resnet_trt_node.node.classifier_node import ClassifierNode
from stand_ins.slow_backend import SlowBackend
from std_srvs.srv import Trigger

pytestmark = pytest.mark.slow

EXECUTORS = pytest.mark.parametrize('executor', ['auto', 'single_threaded'])
PROGRESS = 'building the engine: 40 %'


@pytest.fixture
def backend(tmp_path):
    return SlowBackend(tmp_path)


def run(backend, executor, *arguments):
    return NodeProcess(
        *SIMULATED, '-p', f'executor:={executor}', *arguments, prepare=backend.prepare)


def is_configuring(peer, backend):
    """Check all that a node must do while its model is opened."""
    peer.spin_until(lambda: backend.hangs_in('opening'), 'the opening')
    wait_for_status(peer, 'state', 'configuring')
    peer.spin_until(lambda: PROGRESS in peer.status()['message'], 'the progress')
    assert peer.status()['message'].startswith('configuring for ')
    assert peer.status()['level'] == '1'
    heard = peer.heard['/diagnostics']
    seen = len(heard)
    peer.spin_until(lambda: len(heard) > seen + 5, 'diagnostics meanwhile')
    assert state(peer) == 'configuring'
    values = peer.call(GetParameters, '/classifier/get_parameters', GetParameters.Request(
        names=['top_k'])).values
    assert [value.integer_value for value in values] == [5]
    statistics = json.loads(
        peer.call(Trigger, '/classifier/statistics', Trigger.Request()).message)
    assert (statistics['state'], statistics['level']) == ('configuring', 'WARN')
    assert PROGRESS in statistics['message']
    # What the model is opened with cannot change under it, what frames meet can.
    accepted, reason = set_parameter(peer, 'batch_size', ParameterValue(
        type=ParameterType.PARAMETER_INTEGER, integer_value=3))
    assert not accepted
    assert 'configured' in reason
    assert set_parameter(peer, 'score_threshold', number(0.6)) == (True, '')


@EXECUTORS
def test_a_node_that_starts_itself_answers_meanwhile(peer, backend, executor):
    peer.listen_to_results()
    backend.hang_in('opening', PROGRESS)
    with run(backend, executor) as node:
        is_configuring(peer, backend)
        for transition in (CONFIGURE, ACTIVATE, CLEANUP,
                           Transition.TRANSITION_UNCONFIGURED_SHUTDOWN):
            assert not lifecycle(peer, transition)
        # The label of the end of a transition, which rclpy would take for it.
        assert not peer.call(
            ChangeState, '/classifier/change_state',
            ChangeState.Request(transition=Transition(label='transition_success'))).success
        assert state(peer) == 'configuring'
        peer.spin_until(lambda: 'change_state refused' in node.log, 'the refusals in the log')
        backend.let_go('opening')
        wait_for_status(peer, 'state', 'active')
        # Jazzy's rclpy would raise, and the node end.
        for transition in (CONFIGURE, ACTIVATE, CLEANUP, 99):
            assert not lifecycle(peer, transition)
        assert state(peer) == 'active'
        assert peer.status()['level'] == '0'
        peer.connect('image')
        peer.publish('image', red(7))
        peer.spin_until(lambda: peer.heard['classification'], 'an answer')
        # Its only score that is not small is 0.502, and the threshold was set in the middle.
        assert peer.heard['classification'][0].results == []
        assert node.stop() == 0
    assert 'Traceback' not in node.log


@EXECUTORS
@pytest.mark.parametrize('works', [True, False])
def test_change_state_is_answered_at_the_end_with_the_true_result(
        peer, backend, executor, works):
    peer.listen_to_diagnostics()
    backend.hang_in('opening', PROGRESS)
    with run(backend, executor, '-p', 'autostart:=false') as node:
        wait_for_status(peer, 'state', 'unconfigured')
        answer = peer.begin(ChangeState, '/classifier/change_state', ChangeState.Request(
            transition=Transition(label='configure')))
        is_configuring(peer, backend)
        assert not answer.done()
        if not works:
            backend.break_opening()
        backend.let_go('opening')
        peer.spin_until(answer.done, 'the answer')
        assert answer.result().success == works
        assert state(peer) == ('inactive' if works else 'unconfigured')
        if works:
            assert lifecycle(peer, ACTIVATE)
        else:
            peer.spin_until(lambda: peer.status()['level'] == '2', 'the error')
            assert 'no device at all' in peer.status()['message']
            # It is nobody's but the manager's to try again.
            assert not lifecycle(peer, CONFIGURE)
        assert node.stop() == 0
    assert 'Traceback' not in node.log


@pytest.mark.parametrize('autostart', [True, False])
@EXECUTORS
def test_a_signal_meanwhile_ends_it(peer, backend, executor, autostart):
    peer.listen_to_diagnostics()
    backend.hang_in('opening', PROGRESS)
    with run(backend, executor, '-p', f'autostart:={autostart}') as node:
        if not autostart:
            answer = peer.begin(ChangeState, '/classifier/change_state', ChangeState.Request(
                transition=Transition(id=CONFIGURE)))
        is_configuring(peer, backend)
        code = node.stop(signal.SIGTERM)
        assert code == 0, node.log
        assert node.ended_by_itself
        if not autostart:
            peer.spin_until(answer.done, 'the answer')
            assert not answer.result().success
    assert 'Traceback' not in node.log
    assert 'stopped while' in node.log


def test_trigger_configure_blocks_until_all_is_done():
    """For programs that have the node in their own process and spin it later, or never."""
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        node = ClassifierNode(context=context, parameter_overrides=[
            Parameter('backend', value='simulated:1')])

        def refused():
            try:
                return node.trigger_configure()
            except rclpy._rclpy_pybind11.RCLError:  # in Jazzy
                return TransitionCallbackReturn.ERROR

        for transition, result in (
                (node.trigger_configure, 'SUCCESS'), (node.trigger_activate, 'SUCCESS'),
                (refused, 'ERROR'), (node.trigger_deactivate, 'SUCCESS'),
                (node.trigger_cleanup, 'SUCCESS'), (node.trigger_configure, 'SUCCESS'),
                (node.trigger_shutdown, 'SUCCESS')):
            assert transition().name == result
            assert not node.configuring
        assert node.finalized
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)
