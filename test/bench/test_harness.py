"""The benchmark's processes: looked at from outside, ended whatever happens, and a short run."""

from __future__ import annotations

import os
import subprocess
import sys

from bench import BenchError
from bench.camera import Camera, DETECTED_CLASS, from_json, several, to_json
from bench.cameras_process import BROKEN, broken_message, detections, message
from bench.children import Child, wait_until
from bench.deployment import DEFAULT, PROFILE
from bench.environment import choose_transport, describe_machine
from bench.faulty_node import order_faults, take_fault
from bench.isolation import isolate_ros
from bench.observer import counts, stage_ms, stages, unaccounted, unaccounted_regions
from bench.procfs import sample
from bench.scenarios import latency, regions
from bench.scenarios.soak import LoggedAccount, read_accounts
import numpy as np
import pytest
from resnet_trt_node.errors import FrameError
from resnet_trt_node.imaging.decode import decode_message

pytestmark = pytest.mark.slow

STATUS = {
    'state': 'active', 'total_p50_ms': '6.1', 'total_p99_ms': '7.5', 'front/received': '10',
    'front/answered': '6', 'front/in_progress': '1', 'front/dropped_stale': '2',
    'front/dropped_failed': '0', 'front/received_hz': '3.0'}


def test_diagnostics_are_understood():
    assert stages(STATUS) == ['total']
    assert stage_ms(STATUS, 'total', 99) == 7.5
    assert stage_ms(STATUS, 'infer', 99) is None
    numbers = counts(STATUS, 'front')
    assert numbers == {
        'received': 10, 'answered': 6, 'in_progress': 1, 'dropped_stale': 2, 'dropped_failed': 0}
    assert unaccounted(numbers) == 1
    with pytest.raises(BenchError, match="camera 'left'"):
        counts(STATUS, 'left')


def test_regions_in_the_diagnostics_are_counted():
    status = {'front/regions_received': '30', 'front/regions_answered': '17',
              'front/regions_too_small': '2', 'front/regions_dropped': '10',
              'front/regions_in_progress': '0', 'front/regions_per_frame': '10.0'}
    assert unaccounted_regions(status, 'front') == 1
    with pytest.raises(BenchError, match="camera 'left'"):
        unaccounted_regions(status, 'left')


def test_accounts_in_the_log_are_understood():
    log = (
        '[INFO] [1.2] [ours.classifier]: 100 frames received, 90 answered, dropped: '
        '7 superseded, 3 malformed\n'
        '[INFO] [1.3] [ours.classifier]: 5 frames received, 4 answered, dropped: none\n'
        '[INFO] [1.4] [ours.classifier]: 17 frames lost in transport; 3 frames received, '
        '3 answered, dropped: none\n')
    assert read_accounts(log) == [
        LoggedAccount(0, 100, 90, 0), LoggedAccount(0, 5, 4, 1), LoggedAccount(17, 3, 3, 0)]
    with pytest.raises(BenchError, match='no account'):
        read_accounts('nothing')


def test_cameras_survive_the_way_to_another_process():
    cameras = [*several(2), Camera('left', 'plain', 320, 240, 5.0, 'mono8', True, 7)]
    assert from_json(to_json(cameras)) == cameras


@pytest.mark.parametrize('encoding', ['bgr8', 'rgb8', 'mono8'])
@pytest.mark.parametrize('jpeg', [False, True])
def test_frames_name_their_camera(encoding, jpeg):
    camera = Camera('c', width=64, height=48, encoding=encoding, jpeg=jpeg, red=123)
    frame = decode_message(message(camera))
    pixels = np.asarray(frame.pixels)
    red = pixels if pixels.ndim == 2 else pixels[..., frame.order.index('r')]
    assert abs(float(red.mean()) - 123) < 3


def test_regions_lie_within_the_picture_and_name_themselves():
    camera, = several(1, regions=10)
    boxes = camera.boxes()
    assert boxes == camera.boxes()
    assert boxes != several(2, regions=10)[1].boxes()
    picture = camera.picture()
    for box, found in zip(boxes, detections(camera).detections, strict=True):
        assert 40 <= min(box.width, box.height) <= max(box.width, box.height) <= 200
        crop = picture[box.top:box.top + box.height, box.left:box.left + box.width, 2]
        assert crop.shape == (box.height, box.width)
        assert camera.expected(box) == round(float(crop.mean()))
        assert found.bbox.center.position.x - found.bbox.size_x / 2 == box.left
        assert found.bbox.center.position.y + found.bbox.size_y / 2 == box.top + box.height
        assert found.results[0].hypothesis.class_id == DETECTED_CLASS
    assert len({camera.expected(box) for box in boxes}) > 5


@pytest.mark.parametrize('kind', BROKEN)
@pytest.mark.parametrize('jpeg', [False, True])
def test_broken_frames_are_broken(kind, jpeg):
    with pytest.raises(FrameError):
        decode_message(broken_message(Camera('c', width=64, height=48, jpeg=jpeg), kind))


def test_faults_count_down(tmp_path):
    path = tmp_path / 'faults'
    assert take_fault(path) == 0
    order_faults(path, 2)
    assert [take_fault(path) for _ in range(3)] == [2, 1, 0]


def test_a_process_seen_from_outside():
    busy = subprocess.Popen(
        [sys.executable, '-c', 'import sys\nprint(flush=True)\nwhile True: pass'],
        stdout=subprocess.PIPE)
    try:
        assert busy.stdout is not None
        busy.stdout.readline()
        before = sample(busy.pid)
        wait_until(lambda: sample(busy.pid).cpu_s >= before.cpu_s + 0.1, 'CPU time')
        # Threads are read after the process, and a busy machine may stop in between.
        wait_until(lambda: (one := sample(busy.pid)).cpu_s == pytest.approx(
            sum(one.thread_cpu_s.values()), abs=0.1), 'the threads to make up the process')
        after = sample(busy.pid)
        assert after.threads == 1
        assert after.descriptors >= 3
        assert 2**20 < after.own_bytes < after.rss_bytes < 2**30
        # Seconds and not the kernel's ticks.
        assert after.cpu_s - before.cpu_s <= 10 * (after.time_s - before.time_s) + 1
    finally:
        busy.kill()
        busy.communicate()
    with pytest.raises(ProcessLookupError):
        sample(busy.pid)


def test_a_child_lacks_what_is_taken_from_its_environment(tmp_path, monkeypatch):
    monkeypatch.setenv('FASTDDS_DEFAULT_PROFILES_FILE', 'x.xml')
    program = 'import os; print(sorted(k for k in os.environ if k.startswith("FAST")))'
    (tmp_path / 'tell_environment.py').write_text(program)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    heard = []
    for deployment in (PROFILE, DEFAULT):
        with Child('child', 'tell_environment', [], tmp_path,
                   environment=deployment.node) as child:
            heard.append(child.hear())
    assert heard == ["['FASTDDS_DEFAULT_PROFILES_FILE']", '[]']
    assert DEFAULT.best_effort
    assert not PROFILE.best_effort


def test_a_child_that_ends_early_is_an_error_with_its_log(tmp_path):
    with Child('early', 'bench.no_such_module', [], tmp_path) as child:
        with pytest.raises(BenchError, match='exit code 1') as caught:
            child.hear()
        message, *log = str(caught.value).splitlines()
        assert message == 'early ended with exit code 1'
        assert 'bench.no_such_module' in log[-1]


def test_children_end_with_a_parent_that_is_killed(tmp_path):
    program = (
        'import sys, time\nfrom pathlib import Path\nfrom bench.children import Child\n'
        "child = Child('node', 'http.server', ['0', '--bind', '127.0.0.1'], Path(sys.argv[1]),"
        " talks=False, environment={'PYTHONUNBUFFERED': '1'})\n"
        'print(child.pid, flush=True)\ntime.sleep(60)\n')
    parent = subprocess.Popen(
        [sys.executable, '-c', program, str(tmp_path)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)})
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    # Once it says that it serves, it is tethered.
    wait_until(lambda: 'Serving HTTP' in (tmp_path / 'node.log').read_text(), 'the server')
    parent.kill()
    parent.communicate()

    def gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rpartition(')')[2].split()[0] == 'Z'
    wait_until(gone, 'the child to end', 60.0)


def test_a_domain_is_not_taken_again_while_others_are_left(monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', '')
    taken = []
    for _ in range(9):
        with isolate_ros():
            taken.append(os.environ['ROS_DOMAIN_ID'])
    assert len(set(taken)) == 9


def test_the_machine_is_described_without_its_name():
    machine = describe_machine()
    assert int(machine['cores']) >= 1
    assert machine['python'] == '.'.join(map(str, sys.version_info[:3]))
    assert os.uname().nodename not in machine.values()


def test_three_seconds_of_a_scenario(monkeypatch):
    for name in ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'):
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    choose_transport()
    outcome = latency.run_idle(1.5, rate_hz=20.0)
    checks = {check.name: check for check in outcome.checks}
    assert checks['frames that the node received and cannot account for'].met
    assert checks['frames that the node counts and no camera sent'].met
    assert checks['answers that the node counts and nobody heard, or the other way round'].met
    balance = outcome.figures['balance']
    assert balance['sent'] == balance['received'] + balance['lost'] + balance['lost_silently']
    assert balance['received'] > 0
    assert checks['answers that are foreign, repeated or mistaken'].met
    figures = outcome.figures
    # 1.5 s at 20 Hz; a late frame falls on this or that side of either end, and a busy machine
    # sends fewer and loses some of those.
    assert 0 < figures['answered'] <= figures['sent'] <= 32
    assert figures['source_to_answer_ms']['p50'] >= 5.0
    assert figures['node_cpu_ms_per_answer'] > 0
    assert {'queue', 'preprocess', 'infer', 'publish', 'total'} <= figures['stages_ms'].keys()
    assert 'inference' in figures['node_threads_ms_per_answer']


def test_two_seconds_of_regions(monkeypatch):
    for name in ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'):
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    choose_transport()
    outcome = regions.run(2.0)
    checks = {check.name: check for check in outcome.checks}
    for name in (
            'frames that the node received and cannot account for',
            'regions that the node received and cannot account for',
            'answers that are foreign, repeated or mistaken',
            'regions of answered frames without an answer, or beyond those sent',
            "regions with another region's answer"):
        assert checks[name].met, checks[name]
    for receiver in ('ours', 'plain'):
        found = outcome.figures['regions'][receiver]
        assert found['regions_answered'] == 10 * found['frames_answered'] > 0
        assert found['regions_hz'] > 0
