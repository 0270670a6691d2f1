"""Each outcome of each subject, and the command that mends it on machines of several kinds."""

from __future__ import annotations

from dataclasses import replace
import os
from pathlib import Path
import sys
from types import SimpleNamespace

import pytest
from repository import REPOSITORY
from resnet_trt_node.cli.support.doctor import ros, runtimes, system
from resnet_trt_node.cli.support.doctor.finding import Finding
from resnet_trt_node.cli.support.doctor.machine import Machine
from resnet_trt_node.cli.support.doctor.probes import Outcome

DESKTOP = Machine(
    architecture='x86_64', system='Ubuntu 24.04', codename='noble', tegra='',
    gpus=('NVIDIA RTX, compute capability 8.9, driver 550.90, 8188 MiB',), gpu_error='',
    container=False, venv=False, externally_managed=True, ros_distro='jazzy',
    ros_setups=('/opt/ros/jazzy/setup.bash',), system_ros=True)
JETSON = replace(
    DESKTOP, architecture='aarch64', codename='jammy', tegra='Jetson Linux 36.4.3', gpus=(),
    externally_managed=False, ros_distro='humble')
PLAIN = replace(DESKTOP, gpus=(), ros_distro='', system_ros=False, ros_setups=())

MISSING = Outcome('missing', 'not installed')
GOOD = {
    **dict.fromkeys(runtimes.PROBES, Outcome('ok', '1.0')),
    'rclpy': Outcome('ok', 'rclpy 7.1.6, FASTRTPS_DEFAULT_PROFILES_FILE'),
    'vision_msgs': Outcome('ok', ''), 'cv_bridge': Outcome('ok', ''),
    'middleware': Outcome('ok', 'rmw_fastrtps_cpp')}


def runtimes_on(machine, **changes) -> dict[str, Finding]:
    found = {one.subject: one for one in runtimes.runtime_findings(machine, {**GOOD, **changes})}
    return {**found, 'gpu': runtimes.gpu_finding(machine)}


def ros_on(machine, environment=None, **changes) -> dict[str, Finding]:
    return {one.subject: one for one in ros.ros_findings(
        machine, {**GOOD, **changes}, environment or {})}


@pytest.mark.parametrize('machine', [DESKTOP, JETSON])
def test_where_everything_works_nothing_is_to_be_mended(machine):
    environment = {'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA'}
    found = {**runtimes_on(machine), **ros_on(machine, environment)}
    assert {one.state for one in found.values()} == {'ok'}
    assert {one.remedy for one in found.values()} == {''}
    assert runtimes.backend_finding(machine, found).found == 'tensorrt'


@pytest.mark.parametrize(('name', 'machine', 'remedy'), [
    ('numpy', DESKTOP, "-m pip install 'numpy<2'"),
    ('numpy', PLAIN, '-m pip install numpy'),
    ('opencv', DESKTOP, 'sudo apt install python3-opencv'),
    ('opencv', PLAIN, "-m pip install 'opencv-python-headless<5'"),
    ('onnx', PLAIN, 'PIP_BREAK_SYSTEM_PACKAGES=1'),
    ('onnxruntime', JETSON, '-m pip install'),
    ('tensorrt', DESKTOP, 'tensorrt-cu12'),
    ('tensorrt', JETSON, 'sudo apt install python3-libnvinfer'),
    ('tensorrt', replace(DESKTOP, gpus=('x, driver 580.1, y',)), 'tensorrt-cu13'),
    ('pycuda', DESKTOP, 'nvidia-cuda-toolkit'),
    ('pycuda', JETSON, 'PATH=/usr/local/cuda/bin:$PATH'),
    ('cuda-bindings', DESKTOP, 'cuda-bindings<13')])
def test_what_is_missing_has_a_command_for_this_machine(name, machine, remedy):
    found = runtimes_on(machine, **{name: MISSING})[name]
    assert found.state == 'missing'
    assert remedy in found.remedy


def test_what_resizes_on_the_gpu_is_said_of_both_packages_that_it_needs():
    found = runtimes_on(DESKTOP)
    assert all('on the GPU' in found[name].purpose for name in ('cuda-bindings', 'nvrtc'))
    assert 'CUDA graphs' in found['cuda-bindings'].purpose


@pytest.mark.parametrize('name', [
    'tensorrt', 'tensorrt_lean', 'pycuda', 'cuda-bindings', 'nvrtc'])
def test_without_a_gpu_its_packages_are_not_needed(name):
    for outcome in (MISSING, Outcome('broken', 'ImportError: libcuda.so.1')):
        found = runtimes_on(PLAIN, **{name: outcome})[name]
        assert (found.state, found.remedy) == ('not needed', '')


@pytest.mark.parametrize('name', ['tensorrt_rtx', 'tensorrt_lean', 'nvimgcodec'])
def test_of_several_ways_one_is_enough(name):
    assert runtimes_on(DESKTOP, **{name: MISSING})[name].state == 'not needed'


def test_without_tensorrt_the_lean_runtime_is_worth_a_thought():
    found = runtimes_on(DESKTOP, tensorrt=MISSING, tensorrt_lean=MISSING)
    assert 'tensorrt-lean-cu12' in found['tensorrt_lean'].remedy


def test_what_was_built_for_numpy_1_gets_it():
    found = runtimes_on(DESKTOP, opencv=Outcome('broken', 'ImportError: numpy.core; NumPy 1.x'))
    assert "'numpy<2'" in found['opencv'].remedy


def test_what_is_broken_is_installed_anew():
    found = runtimes_on(PLAIN, onnxruntime=Outcome('broken', 'its import ends the process'))
    assert 'pip install --force-reinstall onnxruntime' in found['onnxruntime'].remedy


def test_a_missing_driver_is_not_mended_by_pip():
    found = runtimes_on(DESKTOP, pycuda=Outcome('broken', 'there is no NVIDIA driver (libcuda)'))
    assert found['pycuda'].remedy == 'sudo reboot'


@pytest.mark.parametrize(('machine', 'state', 'said', 'remedy'), [
    (DESKTOP, 'ok', 'NVIDIA RTX', ''), (JETSON, 'ok', 'Jetson Linux', ''),
    (replace(PLAIN, gpu_error='version mismatch'), 'broken', 'mismatch', 'sudo reboot'),
    (replace(PLAIN, gpu_error='x', container=True), 'broken', 'x', 'docker run --gpus all'),
    (PLAIN, 'missing', 'no NVIDIA GPU', 'sudo ubuntu-drivers'),
    (replace(PLAIN, container=True), 'missing', 'no NVIDIA GPU', 'docker run --gpus all')])
def test_the_gpu(machine, state, said, remedy):
    found = runtimes.gpu_finding(machine)
    assert found.state == state
    assert said in found.found
    assert found.remedy.startswith(remedy)


@pytest.mark.parametrize(('machine', 'changes', 'chosen', 'why'), [
    (DESKTOP, {'tensorrt': MISSING}, 'tensorrt_rtx', 'tensorrt: not installed'),
    (DESKTOP, {'pycuda': MISSING}, 'onnxruntime', 'tensorrt: pycuda is not installed'),
    (DESKTOP, {'tensorrt': MISSING, 'tensorrt_rtx': MISSING}, 'onnxruntime', 'engine_host_code'),
    (DESKTOP, {'tensorrt': Outcome('broken', 'x'), 'tensorrt_rtx': MISSING}, 'onnxruntime',
     'tensorrt: not working'),
    (PLAIN, {}, 'onnxruntime', 'tensorrt: gpu is not working'),
    (PLAIN, {'onnxruntime': MISSING}, '', 'onnxruntime: not installed'),
    (DESKTOP, {'numpy': MISSING}, '', 'numpy is not installed')])
def test_the_backend_is_what_auto_would_choose(machine, changes, chosen, why):
    found = runtimes_on(machine, **changes)
    assert runtimes.choose_backend(found)[0] == chosen
    finding = runtimes.backend_finding(machine, found)
    assert finding.works == bool(chosen)
    assert why in finding.found
    assert bool(finding.remedy) == (not chosen)


@pytest.mark.parametrize(('machine', 'outcome', 'said', 'remedy'), [
    (replace(PLAIN, ros_setups=('/opt/ros/jazzy/setup.bash',)), MISSING, 'not sourced',
     'source /opt/ros/jazzy/setup.bash'),
    (PLAIN, MISSING, 'not installed', 'sudo apt install ros-jazzy-ros-base'),
    (replace(PLAIN, codename=''), MISSING, 'not installed', 'make venv'),
    (replace(DESKTOP, venv=True), Outcome('broken', 'No module _rclpy'), 'another Python',
     'deactivate'),
    (DESKTOP, Outcome('broken', 'No module _rclpy'), '_rclpy',
     'sudo apt install --reinstall ros-jazzy-rclpy')])
def test_rclpy(machine, outcome, said, remedy):
    found = ros_on(machine, rclpy=outcome)['rclpy']
    assert (found.state, found.works) == (outcome.state, False)
    assert said in found.found
    assert found.remedy.startswith(remedy)


def test_messages_and_cv_bridge():
    found = ros_on(DESKTOP, vision_msgs=Outcome('broken', 'cannot import name LabelInfo'),
                   cv_bridge=Outcome('broken', 'its import ends the process by signal 11'))
    assert found['vision_msgs'].remedy == 'sudo apt install ros-jazzy-vision-msgs'
    assert 'NumPy 1?' in found['cv_bridge'].found
    assert "'numpy<2'" in found['cv_bridge'].remedy
    assert ros_on(DESKTOP, cv_bridge=MISSING)['cv_bridge'].state == 'not needed'


@pytest.mark.parametrize(('said', 'remedy'), [
    ('UsageError: RMW_IMPLEMENTATION is rmw_x, which does not load', 'unset RMW_IMPLEMENTATION'),
    ('UsageError: ROS_DOMAIN_ID is 500: set it', 'unset ROS_DOMAIN_ID'),
    ('RuntimeError: failed to load', 'sudo apt install ros-jazzy-rmw-fastrtps-cpp')])
def test_a_middleware_that_does_not_start(said, remedy):
    found = ros_on(DESKTOP, middleware=Outcome('broken', said))
    assert (found['middleware'].state, found['middleware'].remedy) == ('broken', remedy)
    assert found['dds profile'].state == 'not needed'


def test_without_rclpy_nothing_is_known_of_the_middleware():
    for state in ('missing', 'broken'):
        found = ros_on(DESKTOP, rclpy=Outcome(state, 'x'), middleware=Outcome(state, 'x'))
        assert (found['middleware'].works, found['middleware'].remedy) == (False, '')


def test_the_domain_is_shown():
    assert 'ROS_DOMAIN_ID 7' in ros_on(DESKTOP, {'ROS_DOMAIN_ID': '7'})['middleware'].found


def profile(**environment) -> Finding:
    return ros_on(DESKTOP, environment)['dds profile']


def test_the_dds_profile(tmp_path):
    assert profile().state == 'advice'
    assert 'dds_profile:=large_images' in profile().remedy
    ours = str(REPOSITORY / 'config' / 'fastdds_large_images.xml')
    assert profile(FASTRTPS_DEFAULT_PROFILES_FILE=ours).state == 'ok'
    # This one is of a newer Fast DDS.
    other = profile(FASTDDS_DEFAULT_PROFILES_FILE=ours)
    assert (other.state, other.remedy) == (
        'broken', 'export FASTRTPS_DEFAULT_PROFILES_FILE=$FASTDDS_DEFAULT_PROFILES_FILE')
    gone = profile(FASTRTPS_DEFAULT_PROFILES_FILE=str(tmp_path / 'gone.xml'))
    assert (gone.state, gone.remedy) == ('broken', 'unset FASTRTPS_DEFAULT_PROFILES_FILE')
    (tmp_path / 'bad.xml').write_text('<dds><segment_size>many</segment_size></dds>')
    assert 'no profile' in profile(FASTRTPS_DEFAULT_PROFILES_FILE=str(tmp_path / 'bad.xml')).found
    (tmp_path / 'bad.xml').write_text('<dds>')
    assert 'no profile' in profile(FASTRTPS_DEFAULT_PROFILES_FILE=str(tmp_path / 'bad.xml')).found


def test_a_profile_is_for_fast_dds():
    found = ros_on(DESKTOP, middleware=Outcome('ok', 'rmw_cyclonedds_cpp'))['dds profile']
    assert found.state == 'not needed'


def test_shared_memory_is_what_our_profiles_take():
    taken = sum(
        ros.bytes_of_segments(path) for path in (REPOSITORY / 'config').glob('fastdds_*.xml'))
    assert taken == system.SHARED_MEMORY_BYTES


@pytest.mark.parametrize(('size_mib', 'free_mib', 'machine', 'remedy'), [
    (1000, 800, DESKTOP, ''), (64, 64, replace(DESKTOP, container=True), 'docker run --shm-size'),
    (64, 64, DESKTOP, 'sudo mount -o remount,size=512m'),
    (1000, 20, DESKTOP, 'fastdds shm clean')])
def test_shared_memory(tmp_path, monkeypatch, size_mib, free_mib, machine, remedy):
    monkeypatch.setattr(system.os, 'statvfs', lambda path: SimpleNamespace(
        f_frsize=1 << 20, f_blocks=size_mib, f_bavail=free_mib))
    (tmp_path / 'fastrtps_1234').touch()
    found = system.shared_memory_finding(machine, tmp_path)
    assert found.state == ('advice' if remedy else 'ok')
    assert f'{free_mib} of {size_mib} MiB free, 1 files' in found.found
    assert found.remedy.startswith(remedy)


def test_no_shared_memory_at_all(tmp_path):
    assert system.shared_memory_finding(DESKTOP, tmp_path / 'shm').state == 'broken'


@pytest.mark.parametrize(('text', 'state'), [
    ('212992\n', 'advice'), ('8388608\n', 'ok'), (None, 'ok'), ('x', 'ok')])
def test_socket_buffers(tmp_path, text, state):
    path = tmp_path / 'proc/sys/net/core/rmem_max'
    if text is not None:
        path.parent.mkdir(parents=True)
        path.write_text(text)
    found = system.socket_buffer_finding(tmp_path)
    assert found.state == state
    assert ('sysctl -w net.core.rmem_max=8388608' in found.remedy) == (state == 'advice')


def test_the_engine_folder(tmp_path, monkeypatch):
    folder = tmp_path / 'cache' / 'engines'
    assert system.engine_folder_finding(folder).state == 'ok'
    assert not folder.exists()
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    found = system.engine_folder_finding(folder)
    assert (found.state, 'chmod go-w' in found.remedy) == ('broken', True)
    folder.chmod(0o700)
    assert system.engine_folder_finding(folder).state == 'ok'
    monkeypatch.setattr(system.os, 'access', lambda path, mode: False)
    found = system.engine_folder_finding(folder)
    assert (found.state, found.remedy) == ('broken', f'sudo chown -R $USER {folder}')
    (tmp_path / 'file').touch()
    assert 'no folder' in system.engine_folder_finding(tmp_path / 'file' / 'engines').found


def test_the_command_in_the_shell(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setattr(sys, 'executable', str(tmp_path / 'bin/python'))
    found = system.command_finding({'PATH': str(tmp_path)})
    assert (found.state, found.remedy) == (
        'missing', "alias resnet_trt='ros2 run resnet_trt_node resnet_trt'")
    command = tmp_path / 'bin' / 'resnet_trt'
    command.parent.mkdir()
    command.touch()
    command.chmod(0o755)
    assert system.command_finding({}).remedy == f'export PATH={tmp_path}/bin:$PATH'
    assert system.command_finding({'PATH': f'{tmp_path}/bin'}).found == str(command)


def test_the_package_for_ros2(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setattr(sys, 'prefix', str(tmp_path / 'nowhere'))
    assert 'source install/setup.bash' in system.package_finding({}).remedy
    entry = tmp_path / '.local/share/ament_index/resource_index/packages/resnet_trt_node'
    entry.parent.mkdir(parents=True)
    entry.touch()
    prefix = tmp_path / '.local'
    assert system.package_finding({}).remedy == (
        f'export AMENT_PREFIX_PATH={prefix}:$AMENT_PREFIX_PATH')
    assert system.package_finding(
        {'AMENT_PREFIX_PATH': f'/opt/ros/jazzy:{prefix}'}).found == str(prefix)


def test_the_current_machine_raises_nothing():
    for finding in (system.shared_memory_finding(PLAIN), system.socket_buffer_finding(),
                    system.engine_folder_finding(Path.home() / '.cache'),
                    system.command_finding(os.environ), system.package_finding(os.environ)):
        assert finding.found
