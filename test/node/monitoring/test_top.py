"""`resnet_trt top`: what a running node reports, on a terminal and as JSON."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
from time import monotonic

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from documentation.json_schemas import checked
from nodes.node_process import image, NodeProcess, Peer
import numpy as np
import pytest
from repository import REPOSITORY
from resnet_trt_node.cli.main import main
from resnet_trt_node.cli.robot.top import view
from resnet_trt_node.node.monitoring.health import Level
from resnet_trt_node.node.monitoring.listener import reports
from resnet_trt_node.node.monitoring.report import Report
from resnet_trt_node.node.pipeline.counters import CameraCounts, DROP_REASONS
from rich.console import Console

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def running():
    """Run a node of two cameras that has answered three frames and dropped one."""
    peer = Peer()
    peer.listen_to_results('front/')
    with NodeProcess(
            '-r', '__ns:=/car', '-p', 'backend:=simulated', '-p', 'cameras:=[front, left]',
            '-p', 'queue_depth:=10', '-p', 'diagnostics_period_sec:=0.1', '-r',
            'front/image:=/front/image', '-r', 'front/classification:=/front/classification',
            '-p', 'image_reliability:=reliable') as node:
        peer.connect('front/image', camera='front/')
        good = image(np.zeros((48, 64, 3)))
        bad = image(np.zeros((48, 64, 3)), encoding='no_such')
        for message in (good, bad, good, good):
            peer.publish('front/image', message)
        peer.spin_until(lambda: (peer.status() or {}).get('front/answered') == '3', 'the answers')
        yield node
        assert node.stop() == 0
    peer.close()


def test_json_has_what_the_statistics_have(running, capsys):
    assert main(['top', '--json', '--node', 'classifier']) == 0
    document = checked(capsys.readouterr().out)
    assert list(document['nodes']) == ['/car/classifier']
    node = document['nodes']['/car/classifier']
    assert (node['state'], node['received'], node['answered']) == ('active', 4, 3)
    assert node['cameras']['front']['dropped_malformed'] == 1
    assert node['cameras']['left']['received'] == 0
    assert node['total_p99_ms'] >= node['infer_p50_ms'] >= 4.5
    assert node['level'] in ('OK', 'WARN')


def test_once_shows_it_on_a_narrow_terminal(running, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    assert main(['top', '--once', '--node', '/car/classifier']) == 0
    out = capsys.readouterr().out
    assert '/car/classifier' in out
    assert 'simulated fp32 on simulated 1' in out
    assert '1 malformed' in out
    assert 'receive to publish' in out
    assert '…' not in out
    assert max(len(line) for line in out.splitlines()) <= 80


def test_nothing_heard_is_one_line_that_names_what_to_check(running, capsys):
    assert main(['top', '--once', '--node', 'other', '--wait', '8']) == 2
    err = capsys.readouterr().err
    assert err.startswith('resnet_trt top: ')
    # A node of another test may still be in the graph.
    named = err.rpartition(': there are ')[2]
    assert '/car/classifier' in named.rstrip('\n').split(', ')
    assert err.count('\n') == 1
    assert main(['top', '--wait', '0']) == 2
    assert '--wait is 0.0' in capsys.readouterr().err


def test_no_node_at_all(capsys, monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', '101')
    assert main(['top', '--wait', '0.3']) == 2
    assert 'ROS_DOMAIN_ID (here 101)' in capsys.readouterr().err


def test_live_view_ends_with_ctrl_c(running):
    """On a pseudo-terminal, as a user sees it."""
    main_end, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, '-m', 'resnet_trt_node.cli.main', 'top'], cwd=REPOSITORY,
        stdout=terminal, stderr=subprocess.STDOUT, env={**os.environ, 'TERM': 'xterm'})
    os.close(terminal)
    shown = b''
    deadline = monotonic() + 60
    try:
        while shown.count(b'/car/classifier') < 2:
            assert monotonic() < deadline, shown
            shown += os.read(main_end, 4096)
        process.send_signal(signal.SIGINT)
        while True:
            try:
                if not (more := os.read(main_end, 4096)):
                    break
            except OSError:
                # How Linux reports that the other end is closed.
                break
            shown += more
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(main_end)
    assert b'Traceback' not in shown


def status(name: str, level: int = 0, **values: str) -> DiagnosticStatus:
    return DiagnosticStatus(
        name=name, level=bytes([level]), message='m',
        values=[KeyValue(key=key, value=value) for key, value in values.items()])


def test_statuses_of_others_are_left_out():
    array = DiagnosticArray(status=[
        status('/a/classifier: camera front', 2, received='3'),
        status('/a/classifier: classifier', 3, received='3', device='none', p='0.5'),
        status('lidar: driver'), status('/b: camera left'), status('nonsense')])
    found = reports(array)
    assert list(found) == ['/a/classifier']
    report = found['/a/classifier']
    assert report.level == Level.ERROR
    assert report.values == {'received': 3, 'device': 'none', 'p': 0.5}
    assert report.cameras['front'].values == {'received': 3}


def test_the_worst_of_node_and_cameras_stands_first():
    camera = {'image_topic': '/front/image', 'received_hz': 0.0, 'answered_hz': 0.0, 'received': 0,
              'answered': 0, 'in_progress': 0, 'lost_in_transport': 0, **{
                  f'dropped_{reason}': 0 for reason in DROP_REASONS}}
    node = {'backend': 'simulated', 'model': '', 'precision': 'fp32', 'device': 'none', 'state':
            'active', 'max_batch_size': 1, 'mean_batch_size': 0, 'batch_sizes': '',
            'retried_batches': 0, 'failed_batches': 0, 'reopened_backends': 0}
    console = Console(file=io.StringIO(), width=80)
    console.print(view({'/classifier': (Report(Level.OK, 'classifying', node, {
        'front': Report(Level.ERROR, 'timeout', camera)}), monotonic())}))
    out = console.file.getvalue()
    assert 'ERROR  classifying, but' in out
    assert 'ERROR  /front/image: timeout' in out


def test_regions_have_a_line_of_their_own():
    node = {
        'node': 'classifier', 'backend': 'simulated 1', 'precision': 'fp32', 'device': 'none',
        'model': 'm', 'received_hz': 20.0, 'answered_hz': 20.0, 'received': 40, 'answered': 40,
        'in_progress': 0, 'state': 'active', 'max_batch_size': 8, 'mean_batch_size': 6,
        'batch_sizes': '', 'retried_batches': 0, 'failed_batches': 0, 'reopened_backends': 0,
        'regions_received': 400, 'regions_answered': 350, 'regions_cached': 30,
        'regions_too_small': 20, 'regions_outside': 0, 'regions_per_frame': 10.0}
    console = Console(file=io.StringIO(), width=100)
    console.print(view({'/classifier': (Report(Level.OK, 'classifying', node, {}), monotonic())}))
    assert ('regions: 10.0 a frame, 400 received, 350 answered, 30 cached, 20 too small '
            in console.file.getvalue())


def test_what_waited_in_vain_is_shown_with_its_reason():
    counts = CameraCounts(received=9, answered=2)
    counts.dropped.update(refused=1, unmatched_expired=2, unmatched_overflow=4)
    counts.events.update(
        detections_unmatched_no_stamp=3, detections_unmatched_expired=0, detections_refused=5)
    console = Console(file=io.StringIO(), width=200)
    console.print(view({'/classifier': (Report(Level.OK, '', {'backend': 'simulated'}, {
        'front': Report(Level.OK, 'OK', {
            'received': counts.received, 'answered': counts.answered, **counts.events,
            **{f'dropped_{reason}': number for reason, number in counts.dropped.items()}})}),
        monotonic())}))
    assert ('1 refused, 2 unmatched_expired, 4 unmatched_overflow, (5 detections_refused), '
            '(3 detections_unmatched_no_stamp) ') in console.file.getvalue()


def test_a_node_that_is_unconfigured_or_gone():
    console = Console(file=io.StringIO(), width=80)
    console.print(view({'/classifier': (
        Report(Level.ERROR, 'cannot configure: no model', {'state': 'unconfigured'}),
        monotonic() - 9)}))
    out = console.file.getvalue()
    assert 'ERROR  cannot configure: no model' in out
    assert 'no diagnostics for 9 s' in out
