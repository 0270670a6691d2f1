"""How the node's process ends when it hangs, and after its lifecycle has ended."""

from __future__ import annotations

import signal

from bench.procfs import orphans, shared_segments
from lifecycle_msgs.msg import Transition
from nodes.node_process import NodeProcess
from nodes.node_services import lifecycle, state
from nodes.simulated_node import run, wait_for_status
import pytest

pytestmark = pytest.mark.slow

HANG_AT_THE_END = '\n'.join((
    'from threading import Event',
    'from resnet_trt_node.node.classifier_node import ClassifierNode',
    'def hang(self):',
    "    print('hanging', flush=True)",
    '    Event().wait()',
    'ClassifierNode._drain = hang'))


def test_a_hang_at_the_end_is_not_waited_for(peer):
    peer.listen_to_diagnostics()
    with NodeProcess('-p', 'backend:=simulated', '-p', 'diagnostics_period_sec:=0.1',
                     prepare=HANG_AT_THE_END, patient=False) as node:
        wait_for_status(peer, 'state', 'active')
        node.send(signal.SIGINT)
        peer.spin_until(lambda: 'hanging' in node.log, 'the node to hang')
        # As launch forwards the Ctrl-C that the process has got already.
        assert node.stop(signal.SIGTERM) == 0
        assert 'forced to end' in node.log


@pytest.mark.parametrize(('autostart', 'transition'), [
    (True, Transition.TRANSITION_ACTIVE_SHUTDOWN),
    (False, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)])
def test_a_node_that_was_shut_down_by_its_service_ends_cleanly_by_a_signal(
        peer, autostart, transition):
    peer.listen_to_diagnostics()
    with run('-p', f'autostart:={autostart}') as node:
        wait_for_status(peer, 'state', 'active' if autostart else 'unconfigured')
        assert lifecycle(peer, transition)
        assert state(peer) == 'finalized'
        code = node.stop()
    assert code == 0, node.log
    assert node.ended_by_itself
    assert 'Traceback' not in node.log
    assert 'ERROR' not in node.log
    assert node.log.count('0 frames received') == autostart


@pytest.mark.parametrize('executor', ['auto', 'single_threaded'])
def test_no_shared_memory_outlives_the_process(executor):
    with run('-p', f'executor:={executor}') as node:
        node.wait_for('active, listening')
        # Ports are shared with whoever comes next, and others in this domain have their own.
        segments = {path for path in shared_segments(node.pid)
                    if path.name.startswith('fast') and '_port' not in path.name}
        assert segments
        assert node.stop() == 0
    assert not orphans(segments)
