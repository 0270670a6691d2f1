"""A backend that fails once or for good: the error state and back; its own process, real DDS."""

from __future__ import annotations

from lifecycle_msgs.msg import TransitionEvent
from models.tiny_model import write_tiny_model
from nodes.node_services import lifecycle, set_parameter, state
from nodes.simulated_node import (
    ACTIVATE, CONFIGURE, DEACTIVATE, number, red, run, text, wait_for_status, went_through)
import pytest
from resnet_trt_node.node.main import EXIT_DISABLED

pytestmark = pytest.mark.slow


FAILING = (
    '-p', 'backend:=simulated:1:1', '-p', 'reopen_backoff_sec:=0.01', '-p',
    'max_reopen_attempts:=2', '-p', 'reopen_after_failures:=1', '-p', 'cameras:=[front]')


def test_a_backend_that_keeps_failing_ends_a_node_that_started_itself(peer):
    """So that what started the process can start it anew."""
    peer.listen_to_results('front/')
    peer.listen('/classifier/transition_event', TransitionEvent)
    with run(*FAILING) as node:
        peer.connect('front/image', camera='front/')

        def disabled():
            peer.publish('front/image', red(1))
            return peer.status()['state'] == 'unconfigured'
        peer.spin_until(disabled, 'the error state')
        assert node.wait() == EXIT_DISABLED
        went_through(peer, 'deactivating', 'errorprocessing', 'unconfigured')
        assert peer.status()['level'] == '2'
        assert 'disabled after 2 attempts' in peer.status()['message']
    assert '0 answered' in node.log
    assert 'Traceback' not in node.log


def test_a_backend_that_keeps_failing_leads_to_the_error_state_and_back(peer):
    peer.listen_to_results('front/')
    peer.listen('/classifier/transition_event', TransitionEvent)
    with run(*FAILING, '-p', 'autostart:=false') as node:
        assert lifecycle(peer, CONFIGURE)
        assert lifecycle(peer, ACTIVATE)
        peer.connect('front/image', camera='front/')

        def disabled():
            peer.publish('front/image', red(1))
            return (peer.status() or {}).get('state') == 'unconfigured'
        peer.spin_until(disabled, 'the error state')
        assert peer.status()['level'] == '2'
        assert 'disabled after 2 attempts' in peer.status()['message']
        assert state(peer) == 'unconfigured'
        went_through(peer, 'deactivating', 'errorprocessing', 'unconfigured')
        # Its lines come through a pipe, later than what it publishes.
        peer.spin_until(lambda: 'disabled after 2 attempts' in node.log, 'the log')
        peer.spin_until(lambda: 'frames received' in node.log, 'the counters')
        counters = node.log[node.log.index('frames received'):]
        assert '0 answered' in counters
        assert 'failed' in counters
        # The reason is mended, and a manager starts it again.
        assert set_parameter(peer, 'backend', text('simulated:1')) == (True, '')
        assert lifecycle(peer, CONFIGURE)
        assert lifecycle(peer, ACTIVATE)
        peer.disconnect('front/image')
        peer.connect('front/image', camera='front/')
        peer.publish('front/image', red(77))
        results = peer.heard['front/classification']
        peer.spin_until(lambda: results, 'an answer')
        assert results[-1].results[0].class_id == 'red_077'
        peer.spin_until(lambda: peer.status()['level'] == '0', 'all well again')
        assert node.stop() == 0
    assert 'Traceback' not in node.log


def test_a_backend_disabled_while_inactive_leads_to_the_error_state_too(peer, tmp_path):
    peer.listen_to_results()
    peer.listen('/classifier/transition_event', TransitionEvent)
    model = write_tiny_model(tmp_path / 'tiny.onnx')
    with run(
            '-p', f'model_path:={model}', '-p', 'backend:=simulated:1:1',
            '-p', 'reopen_backoff_sec:=0.01', '-p', 'max_reopen_attempts:=0',
            '-p', 'reopen_after_failures:=1', '-p', 'autostart:=false') as node:
        assert lifecycle(peer, CONFIGURE)
        assert lifecycle(peer, ACTIVATE)
        peer.connect('image')
        model.unlink()
        peer.publish('image', red(1))
        wait_for_status(peer, 'backend_state', 'opening again')
        assert peer.status()['level'] == '2'
        assert lifecycle(peer, DEACTIVATE)
        assert state(peer) == 'inactive'
        # Not before now, however long the way here took.
        assert set_parameter(peer, 'max_reopen_attempts', number(1)) == (True, '')
        wait_for_status(peer, 'state', 'unconfigured')
        assert 'no model at' in peer.status()['message']
        went_through(peer, 'cleaningup', 'errorprocessing', 'unconfigured')
        # The model is still missing, and a manager that tries gets that answer.
        assert not lifecycle(peer, CONFIGURE)
        peer.spin_until(
            lambda: 'cannot configure' in peer.status()['message'],
            'the reason')
        assert node.stop() == 0
    assert '1 frames received, 0 answered, dropped: 1 failed' in node.log
    assert 'Traceback' not in node.log


def test_batches_that_fail_once_cost_no_frame(peer):
    peer.listen_to_results()
    # Between a failure and its second attempt two other batches may be submitted, not four.
    with run('-p', 'backend:=simulated:1:5', '-p', 'batch_size:=1') as node:
        peer.connect('image')
        for value in range(30):
            peer.publish('image', red(value))
        results = peer.heard['classification']
        peer.spin_until(lambda: len(results) == 30, 'all answers')
        assert [item.results[0].class_id for item in results] == [
            f'red_{value:03d}' for value in range(30)]
        peer.spin_until(lambda: int(peer.status()['retried_batches']) > 0, 'its telling')
        assert peer.status()['failed_batches'] == '0'
        assert node.stop() == 0
    assert '30 frames received, 30 answered, dropped: none' in node.log
