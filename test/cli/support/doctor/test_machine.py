"""What remedies depend on, read from stand-ins of a file system."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import sys

import pytest
from resnet_trt_node.cli.support.doctor.machine import Machine

pytestmark = pytest.mark.slow

SMI = 'NVIDIA H100 PCIe, 9.0, 580.65.06, 81559 MiB'


def put(root, name, text='', mode=0o644) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def smi(root, script) -> dict[str, str]:
    put(root, 'bin/nvidia-smi', f'#!/bin/sh\n{script}\n', 0o755)
    return {'PATH': f'{root / "bin"}:/usr/bin:/bin'}


def test_a_bare_machine(tmp_path):
    machine = Machine.here(tmp_path, {})
    assert not machine.has_gpu
    assert (machine.tegra, machine.gpus, machine.container) == ('', (), False)
    assert (machine.ros_distro, machine.ros_setups, machine.system_ros) == ('', (), False)


def test_a_workstation(tmp_path):
    put(tmp_path, 'etc/os-release', 'PRETTY_NAME="Ubuntu 24.04.1 LTS"\nVERSION_CODENAME=noble\n')
    put(tmp_path, 'opt/ros/jazzy/setup.bash')
    machine = Machine.here(tmp_path, {
        **smi(tmp_path, f'echo "{SMI}"'), 'ROS_DISTRO': 'jazzy',
        'AMENT_PREFIX_PATH': '/home/me/ws/install:/opt/ros/jazzy'})
    assert (machine.system, machine.codename) == ('Ubuntu 24.04.1 LTS', 'noble')
    assert machine.gpus == (
        'NVIDIA H100 PCIe, compute capability 9.0, driver 580.65.06, 81559 MiB',)
    assert machine.cuda == 'cu13'
    assert machine.system_ros
    assert machine.ros_setups == (str(tmp_path / 'opt/ros/jazzy/setup.bash'),)


@pytest.mark.parametrize(('script', 'said'), [
    ('echo "Failed to initialize NVML: Driver/library version mismatch"; exit 18', 'mismatch'),
    ('exit 9', 'no GPU'), ('echo "No devices were found"', 'No devices'),
    ('echo "a, b"', 'a, b')])
def test_a_driver_that_does_not_answer(tmp_path, script, said):
    machine = Machine.here(tmp_path, smi(tmp_path, script))
    assert machine.has_gpu
    assert said in machine.gpu_error


def test_a_driver_without_its_tool(tmp_path):
    put(tmp_path, 'proc/driver/nvidia/version', 'NVRM version: 550')
    assert 'no nvidia-smi' in Machine.here(tmp_path, {'PATH': ''}).gpu_error


def test_a_jetson(tmp_path):
    put(tmp_path, 'etc/nv_tegra_release',
        '# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n')
    machine = Machine.here(tmp_path, smi(tmp_path, 'exit 1'))
    assert machine.tegra == 'Jetson Linux 36.4.3'
    assert (machine.has_gpu, machine.gpu_error, machine.cuda) == (True, '', 'cu12')


@pytest.mark.parametrize('mark', ['.dockerenv', 'run/.containerenv'])
def test_a_container(tmp_path, mark):
    put(tmp_path, mark)
    assert Machine.here(tmp_path, {}).container


@pytest.fixture
def machine(tmp_path):
    return replace(Machine.here(tmp_path, {}), venv=False, externally_managed=False)


def test_pip_is_that_of_this_python(machine, monkeypatch):
    monkeypatch.setattr(sys, 'executable', '/usr/bin/python3')
    assert machine.pip('onnx') == '/usr/bin/python3 -m pip install onnx'
    assert replace(machine, externally_managed=True).pip('onnx') == (
        'PIP_BREAK_SYSTEM_PACKAGES=1 /usr/bin/python3 -m pip install onnx')


@pytest.mark.parametrize(('distro', 'system', 'numpy'), [
    ('jazzy', True, True), ('lyrical', True, False), ('jazzy', False, False)])
def test_numpy_2_is_kept_away_from_what_is_built_for_1(machine, distro, system, numpy):
    command = replace(machine, ros_distro=distro, system_ros=system).pip('onnx')
    assert ("'numpy<2'" in command) == numpy


@pytest.mark.parametrize(('changes', 'command'), [
    ({'ros_distro': 'humble', 'system_ros': True}, 'sudo apt install ros-humble-vision-msgs'),
    ({'codename': 'noble'}, 'sudo apt install ros-jazzy-vision-msgs'),
    ({'codename': 'bookworm'}, 'make venv'),
    ({'ros_distro': 'kilted', 'codename': 'noble'}, 'make venv')])
def test_packages_of_ros_come_from_where_ros_does(machine, changes, command):
    assert replace(machine, **changes).apt_ros('vision-msgs').startswith(command)
