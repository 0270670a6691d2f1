"""Where a measurement runs: a ROS domain of its own, and what machine this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
import os
from pathlib import Path
import platform
import subprocess
from typing import IO

from bench.isolation import isolate_ros
from resnet_trt_node.compare.machine import cpu_model

ROOT = Path(__file__).resolve().parents[2]
#: Of Fast DDS, from ROS 2 Kilted on and before.
PROFILE_VARIABLES = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')
_PACKAGES = ('numpy', 'opencv-python-headless', 'onnxruntime', 'rclpy')


def isolate(folder: Path) -> IO[str]:
    """
    Let this process and its children meet no other ROS program.

    :param folder: takes the nodes' log files.
    :returns: the claim on the domain, which the tests respect too; keep it until the end.
    :raises BenchError: if every domain is claimed.
    """
    claim = isolate_ros()
    os.environ['ROS_LOG_DIR'] = str(folder.resolve() / 'ros_log')
    choose_transport()
    return claim


def choose_transport() -> None:
    """
    Let images of megabytes through, the same way for every process of a measurement.

    FASTDDS_BUILTIN_TRANSPORTS would not do: with discovery on this machine only, rmw_fastrtps
    replaces the built-in transports by its own, whose shared memory is smaller than an image.
    """
    if not any(name in os.environ for name in PROFILE_VARIABLES):
        os.environ.update(profile('fastdds_large_images_receiver.xml'))


def profile(name: str) -> dict[str, str]:
    """Return the environment that has Fast DDS use one of the repository's profiles."""
    # Not above: rclpy must not be imported before `isolate_ros`.
    from resnet_trt_node.node.distribution import DDS_PROFILES_VARIABLE
    return {DDS_PROFILES_VARIABLE: str(ROOT / 'config' / name)}


def describe_machine() -> dict[str, str]:
    """Return what a reader needs to judge the figures; no name of the machine."""
    machine = {
        'cores': str(len(os.sched_getaffinity(0))),
        'cpu': cpu_model(),
        'memory': f'{os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30:.0f} GiB',
        'kernel': platform.release().split('-')[0],
        'python': platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            machine[package] = version(package)
        except PackageNotFoundError:
            # ROS 2 from Debian packages, OpenCV from the distribution.
            machine[package] = 'of the system'
    machine['middleware'] = os.environ.get('RMW_IMPLEMENTATION', 'the default of ROS')
    named = [os.environ[name] for name in PROFILE_VARIABLES if name in os.environ]
    machine['transport'] = Path(named[0]).name if named else 'the default'
    machine['commit'] = _commit()
    return machine


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(
            ['git', *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    try:
        changed = ' with changes' if git('status', '--porcelain', '--', 'resnet_trt_node') else ''
        return (git('rev-parse', '--short', 'HEAD') or 'unknown') + changed
    except FileNotFoundError:
        return 'unknown'
