"""`resnet_trt doctor` as a whole, on machines of stand-ins and on this one."""

from __future__ import annotations

from importlib.util import find_spec
import os
import subprocess
import sys

import pytest
from repository import REPOSITORY
from resnet_trt_node.cli.robot import doctor
from resnet_trt_node.cli.support.doctor import ros, runtimes
from resnet_trt_node.cli.support.doctor.finding import STATES
from stand_ins.stand_in_packages import FAILING, WORKING, write_packages

pytestmark = pytest.mark.slow

SUBJECTS = [
    'gpu', *runtimes.PROBES, 'backend', 'rclpy', 'vision_msgs', 'cv_bridge', 'middleware',
    'dds profile', 'ros2 package', 'resnet_trt', 'shared memory', 'socket buffers',
    'engine folder']
SMI = '#!/bin/sh\necho "NVIDIA H100, 9.0, 550.90.07, 81559 MiB"\n'


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Let the machine have the packages that a test names, and a GPU."""
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'bin' / 'nvidia-smi').write_text(SMI)
    (tmp_path / 'bin' / 'nvidia-smi').chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path / "bin"}:/usr/bin:/bin')
    for name in ('RMW_IMPLEMENTATION', 'ROS_DOMAIN_ID', 'ROS_DISTRO'):
        monkeypatch.delenv(name, raising=False)

    def write(sources):
        paths = write_packages(tmp_path / 'packages', sources)
        monkeypatch.setattr(doctor, 'search_paths', lambda: paths)
    return write


def subjects(outcome) -> dict[str, dict]:
    assert outcome.err == ''
    assert outcome.document['format'] == 'resnet_trt.doctor'
    return {one['subject']: one for one in outcome.document['subjects']}


def test_a_machine_on_which_all_works(packages, resnet_trt):
    packages(WORKING)
    outcome = resnet_trt('doctor', '--json')
    found = subjects(outcome)
    assert outcome.code == 0
    assert list(found) == SUBJECTS
    assert outcome.document['backend'] == 'tensorrt'
    assert outcome.document['machine']['gpus'] == [
        'NVIDIA H100, compute capability 9.0, driver 550.90.07, 81559 MiB']
    assert found['tensorrt']['found'] == '10.3.0'
    assert found['pycuda']['found'] == '2025.1, 1 GPU'
    assert found['rclpy']['found'] == 'rclpy 7.1.6'
    assert found['middleware']['found'] == 'rmw_fastrtps_cpp, ROS_DOMAIN_ID 0, the default'
    text = resnet_trt('doctor')
    assert text.code == 0
    assert text.out.splitlines()[-1] == 'The node can run here, on tensorrt.'


def test_a_machine_without_anything(packages, resnet_trt):
    packages({})
    outcome = resnet_trt('doctor', '--json')
    found = subjects(outcome)
    assert outcome.code == 1
    assert outcome.document['lacking'] == ['numpy', 'opencv', 'rclpy', 'vision_msgs', 'backend']
    assert found['middleware']['found'] == 'not known without rclpy'
    for name in ('numpy', 'opencv', 'tensorrt', 'rclpy', 'vision_msgs', 'backend'):
        assert found[name]['state'] == 'missing'
        assert found[name]['remedy']
    assert 'The node cannot run here: ' in resnet_trt('doctor').out


@pytest.mark.parametrize('kind', FAILING)
def test_a_machine_on_which_all_fails(packages, resnet_trt, kind):
    packages({name: FAILING[kind] if '.' not in name else source
              for name, source in WORKING.items()})
    outcome = resnet_trt('doctor', '--json')
    found = subjects(outcome)
    assert outcome.code == 1
    for name in ('numpy', 'opencv', 'onnxruntime', 'tensorrt', 'pycuda', 'rclpy', 'vision_msgs'):
        assert found[name]['state'] == 'broken', name
        assert found[name]['remedy']
    text = resnet_trt('doctor').out
    assert '\x1b' not in text
    assert '\x07' not in text


def test_without_ros_the_offline_commands_run(packages, resnet_trt):
    packages({name: source for name, source in WORKING.items()
              if not name.startswith(('rclpy', 'vision_msgs'))})
    outcome = resnet_trt('doctor')
    assert outcome.code == 1
    assert outcome.out.splitlines()[-1] == 'The offline commands can, on tensorrt.'


def test_old_messages_are_broken(packages, resnet_trt):
    packages({**WORKING, 'vision_msgs.msg': 'Classification = Detection2DArray = None'})
    found = subjects(resnet_trt('doctor', '--json'))
    assert found['vision_msgs']['state'] == 'broken'
    assert 'LabelInfo' in found['vision_msgs']['found']


def test_an_old_tensorrt_is_not_chosen(packages, resnet_trt):
    packages({**WORKING, 'tensorrt': '__version__ = "7.1"\nclass IExecutionContext: pass'})
    outcome = resnet_trt('doctor', '--json')
    assert outcome.document['backend'] == 'onnxruntime'
    assert 'too old' in subjects(outcome)['tensorrt']['found']


@pytest.mark.parametrize(('name', 'value'), [
    ('RMW_IMPLEMENTATION', 'rmw_none_cpp'), ('ROS_DOMAIN_ID', '500')])
def test_an_environment_in_which_ros_would_not_start(
        packages, resnet_trt, monkeypatch, name, value):
    packages(WORKING)
    monkeypatch.setenv(name, value)
    outcome = resnet_trt('doctor', '--json')
    found = subjects(outcome)['middleware']
    assert (outcome.code, found['state'], found['remedy']) == (1, 'broken', f'unset {name}')
    assert value in found['found']


def test_this_machine(resnet_trt):
    outcome = resnet_trt('doctor', '--json')
    found = subjects(outcome)
    assert list(found) == SUBJECTS
    assert {one['state'] for one in found.values()} <= set(STATES)
    for name in ('numpy', 'opencv', 'onnx', 'onnxruntime'):
        assert found[name]['state'] == 'ok', found[name]
    works = find_spec('rclpy') is not None and find_spec('vision_msgs') is not None
    assert (outcome.code == 0) == works


def test_this_process_imports_nothing_of_all_that():
    code = (
        'import sys\n'
        'from resnet_trt_node.cli.main import main\n'
        'main(["doctor", "--json"])\n'
        'known = {"torch", "rclpy", "cv2", "onnx", "onnxruntime", "tensorrt", "pycuda", "tvm"}\n'
        'sys.exit(str(known & set(sys.modules)) if known & set(sys.modules) else 0)')
    done = subprocess.run(
        [sys.executable, '-c', code], env={**os.environ, 'PYTHONPATH': str(REPOSITORY)},
        capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, '')


def test_every_probe_has_a_purpose_and_a_remedy():
    assert set(runtimes.PROBES) == set(runtimes._PURPOSES) == set(runtimes._REMEDIES)
    assert not set(runtimes.PROBES) & set(ros.PROBES)
