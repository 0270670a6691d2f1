"""A backend that hangs under a node: an error, the error state, and nothing that piles up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
import re
from time import sleep

from lifecycle_msgs.msg import TransitionEvent
from nodes.node_process import NodeProcess
from nodes.node_services import lifecycle, state
from nodes.simulated_node import (
    ACTIVATE, CLEANUP, CONFIGURE, DEACTIVATE, red, SIMULATED, wait_for_status, went_through)
import psutil
import pytest
from resnet_trt_node.node.main import EXIT_DISABLED
from stand_ins.slow_backend import SlowBackend

pytestmark = pytest.mark.slow

EXECUTORS = pytest.mark.parametrize('executor', ['auto', 'single_threaded'])


@pytest.fixture
def backend(tmp_path):
    return SlowBackend(tmp_path)


def run(backend, executor, *arguments):
    return NodeProcess(
        *SIMULATED, '-p', f'executor:={executor}', '-p', 'batch_size:=1', *arguments,
        prepare=backend.prepare)


def activate(peer):
    assert lifecycle(peer, CONFIGURE)
    assert lifecycle(peer, ACTIVATE)


def hang(peer, backend, method='_collect'):
    """Have a frame hang in the backend, and another one wait behind it."""
    backend.hang_in(method)
    peer.connect('image')
    peer.publish('image', red(1))
    peer.spin_until(lambda: backend.hangs_in(method), 'the hang')
    peer.publish('image', red(2))
    wait_for_status(peer, 'received', '2')
    peer.disconnect('image')


def failed(node):
    """Return how many frames the last counters of the log have as failed, of how many."""
    received, answered, dropped = re.findall(
        r'(\d+) frames received, (\d+) answered, dropped: (.*)', node.log)[-1]
    assert answered == '0'
    return f'{dropped} of {received}'


@EXECUTORS
@pytest.mark.parametrize('method', ['_submit', '_collect'])
def test_a_node_that_started_itself_ends_with_its_own_exit_code(
        peer, backend, executor, method):
    peer.listen_to_results()
    peer.listen('/classifier/transition_event', TransitionEvent)
    with run(backend, executor, '-p', 'infer_timeout_ms:=1500.0') as node:
        wait_for_status(peer, 'state', 'active')
        hang(peer, backend, method)
        assert peer.status()['state'] == 'active'
        assert node.wait() == EXIT_DISABLED == 3
        went_through(peer, 'deactivating', 'errorprocessing', 'unconfigured')

        def errors():
            return [status for message in peer.heard['/diagnostics'] for status in message.status
                    if 'hangs' in status.message]

        def states():
            return [{value.key: value.value for value in status.values}['state']
                    for status in errors()]
        # First where it takes no frames any more, then in the state that the error leads to.
        peer.spin_until(lambda: 'unconfigured' in states(), 'the last diagnostics')
        assert states()[0] == 'inactive'
        assert {status.level for status in errors()} == {b'\x02'}
        doing = 'collecting' if method == '_collect' else 'submitting'
        assert f'{doing} a batch of 1' in errors()[0].message
        assert peer.heard['classification'] == []
    assert failed(node) == '2 failed of 2'
    assert 'Traceback' not in node.log


@EXECUTORS
def test_a_managed_node_stays_and_opens_no_second_backend_beside_one_that_hangs(
        peer, backend, executor):
    peer.listen_to_results()
    with run(backend, executor, '-p', 'infer_timeout_ms:=1500.0',
             '-p', 'autostart:=false') as node:
        activate(peer)
        threads = psutil.Process(node.pid).num_threads()
        hang(peer, backend)
        wait_for_status(peer, 'state', 'unconfigured')
        assert peer.status()['level'] == '2'
        assert 'hangs' in peer.status()['message']
        assert state(peer) == 'unconfigured'
        assert failed(node) == '2 failed of 2'
        for _ in range(3):
            assert not lifecycle(peer, CONFIGURE)
            peer.spin_until(lambda: 'still hangs' in peer.status()['message'], 'the reason')
            assert state(peer) == 'unconfigured'
        assert psutil.Process(node.pid).num_threads() <= threads
        backend.let_go('_collect')
        activate(peer)
        peer.connect('image')
        peer.publish('image', red(9))
        results = peer.heard['classification']
        peer.spin_until(lambda: results, 'an answer')
        # What hung came back before, and none of it was published.
        assert [result.results[0].class_id for result in results] == ['red_009']
        peer.spin_until(lambda: peer.status()['level'] == '0', 'all well')
        assert psutil.Process(node.pid).num_threads() <= threads
        code = node.stop()
        assert code == 0
        assert node.ended_by_itself
    assert 'Traceback' not in node.log


@pytest.mark.parametrize('executor', ['auto'])
@pytest.mark.parametrize('timeout_ms', [60_000.0, 0.0])
def test_a_transition_over_a_hang_is_an_error_before_the_time_out_too(
        peer, backend, executor, timeout_ms):
    peer.listen_to_results()
    with run(backend, executor, '-p', f'infer_timeout_ms:={timeout_ms}',
             '-p', 'autostart:=false') as node:
        activate(peer)
        hang(peer, backend)
        # Without a time-out nobody reports that it hangs as long as it need not end.
        assert lifecycle(peer, DEACTIVATE) == (timeout_ms == 0.0)
        if not timeout_ms:
            assert state(peer) == 'inactive'
            peer.spin_until(
                lambda: 'collecting a batch of 1' in peer.status()['message'],
                'a warning')
            assert peer.status()['level'] == '1'
            assert not lifecycle(peer, CLEANUP)
        assert state(peer) == 'unconfigured'
        peer.spin_until(lambda: peer.status()['level'] == '2', 'the error')
        assert ('hangs' if timeout_ms else 'does not end') \
            in peer.status()['message']
        assert failed(node) in ('2 failed of 2', '1 failed, 1 refused of 2')
        assert not lifecycle(peer, CONFIGURE)
        code = node.stop()
        assert code == 0
        assert node.ended_by_itself
    assert 'Traceback' not in node.log


def test_a_backend_that_does_not_end_makes_cleanup_an_error(peer, backend):
    peer.listen_to_diagnostics()
    with run(backend, 'auto', '-p', 'autostart:=false') as node:
        activate(peer)
        assert lifecycle(peer, DEACTIVATE)
        backend.hang_in('_close')
        assert not lifecycle(peer, CLEANUP)
        peer.spin_until(
            lambda: 'does not end' in peer.status()['message'], 'the error')
        assert peer.status()['level'] == '2'
        assert state(peer) == 'unconfigured'
        assert not lifecycle(peer, CONFIGURE)
        backend.let_go('_close')
        activate(peer)
        assert node.stop() == 0
    assert 'Traceback' not in node.log


def test_a_backend_that_takes_a_while_to_end_does_not_fail_cleanup(peer, backend):
    """As where the driver is busy with what other processes want."""
    def let_go():
        while not backend.hangs_in('_close'):
            sleep(0.01)
        sleep(1.5)
        backend.let_go('_close')
    peer.listen_to_diagnostics()
    with run(backend, 'auto', '-p', 'autostart:=false') as node:
        activate(peer)
        assert lifecycle(peer, DEACTIVATE)
        backend.hang_in('_close')
        with ThreadPoolExecutor(1) as pool:
            ended = pool.submit(let_go)
            assert lifecycle(peer, CLEANUP)
            ended.result()
        activate(peer)
        assert node.stop() == 0
    assert 'does not end' not in node.log


def test_a_slow_backend_does_not_hang(peer, backend):
    peer.listen_to_results()
    with run(backend, 'auto', '-p', 'backend:=simulated:1200.0', '-p', 'infer_timeout_ms:=1.0',
             '-p', 'autostart:=false') as node:
        activate(peer)
        peer.connect('image')
        for value in (1, 2, 3):
            peer.publish('image', red(value))
        wait_for_status(peer, 'in_progress', '3')
        # Stopped for longer than the time-out, it hangs as little.
        assert lifecycle(peer, DEACTIVATE)
        assert lifecycle(peer, CLEANUP)
        assert state(peer) == 'unconfigured'
        assert lifecycle(peer, CONFIGURE)
        assert node.stop() == 0
    assert 'backend hangs' not in node.log
    assert 'does not end' not in node.log
