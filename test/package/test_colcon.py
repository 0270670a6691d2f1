"""The package builds in a workspace as on a robot, and what is installed is complete."""

from __future__ import annotations

import os
from pathlib import Path
import shutil
import subprocess
import sys

import pytest

from resnet_trt_node import __version__
import stalled

pytestmark = pytest.mark.slow

NAME = 'resnet_trt_node'

#: What the sources of a package are, without environments and build results.
SOURCES = ['CHANGELOG.rst', 'LICENSE', 'config', 'engines/README.md', 'interfaces', 'launch',
           'package.xml', 'pyproject.toml', NAME, 'resource', 'setup.cfg', 'setup.py']


def _colcon(workspace: Path, *arguments: str) -> str:
    """Run colcon in a workspace; return what it printed."""
    result = stalled.run(
        [sys.executable, '-m', 'colcon', '--log-base', 'log', *arguments],
        cwd=workspace, env={**os.environ, 'HOME': str(workspace)})
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope='module')
def workspace(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a colcon workspace with a copy of the package, not built."""
    pytest.importorskip('colcon_ros', reason='colcon is not installed: make venv brings it')
    root = tmp_path_factory.mktemp('workspace')
    package = root / 'src' / NAME
    for source in SOURCES:
        target = package / source
        target.parent.mkdir(parents=True, exist_ok=True)
        if (repository / source).is_dir():
            shutil.copytree(
                repository / source, target, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy2(repository / source, target)
    return root


@pytest.fixture(scope='module')
def installed(workspace: Path) -> Path:
    """Return the install space of the built package."""
    _colcon(workspace, 'build', '--executor', 'sequential')
    return workspace / 'install' / NAME


def test_colcon_finds_one_ament_package(workspace: Path) -> None:
    """With a fault in package.xml colcon would take it for plain Python, and install less."""
    packages = [line.split('\t') for line in _colcon(workspace, 'list').splitlines()]
    assert packages == [[NAME, f'src/{NAME}', '(ros.ament_python)']]


def test_installed_tree_is_complete(installed: Path) -> None:
    """Launch files, parameters, manifest, index entry, class names and executables are there."""
    share = installed / 'share'
    expected = [
        share / 'ament_index/resource_index/packages' / NAME,
        share / NAME / 'package.xml',
        share / NAME / 'config/classify.yaml',
        share / NAME / 'engines/README.md',
        share / NAME / 'launch/classify.launch.py',
        share / NAME / 'launch/replay.launch.py',
        installed / 'lib' / NAME / 'classifier_node',
        installed / 'lib' / NAME / 'resnet_trt',
    ]
    assert [str(path) for path in expected if not path.is_file()] == []
    for name in ('data/imagenet_classes.txt', 'backends/cuda/resize.cu'):
        assert len(list(installed.rglob(f'site-packages/{NAME}/{name}'))) == 1, name
    assert list(share.rglob('__pycache__')) == []


def test_every_module_is_installed(repository: Path, installed: Path) -> None:
    """No sub-package was forgotten."""
    package, = installed.rglob(f'site-packages/{NAME}')
    source = repository / NAME

    def modules(folder: Path) -> set[str]:
        return {str(path.relative_to(folder)) for path in folder.rglob('*.py')}

    assert modules(package) == modules(source)


def _run_installed(installed: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a shell command where the workspace is sourced."""
    return subprocess.run(
        ['bash', '-c', f'source "{installed.parent}/setup.bash" && {command}'],
        cwd=installed, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)


def test_installed_command_runs(installed: Path) -> None:
    """The executable of the workspace runs the workspace's code."""
    result = _run_installed(installed, f'lib/{NAME}/resnet_trt --version')
    assert (result.returncode, result.stdout) == (0, f'resnet_trt {__version__}\n'), result.stderr
    result = _run_installed(
        installed, f'"{sys.executable}" -c "import {NAME}; print({NAME}.__file__)"')
    assert Path(result.stdout.strip()).is_relative_to(installed), result.stderr


def test_installed_node_is_the_node(installed: Path) -> None:
    """`ros2 run` would find the node's executable and its entry point."""
    pytest.importorskip('rclpy', reason='rclpy is not installed')
    result = _run_installed(
        installed, f'"{sys.executable}" -c "from importlib.metadata import entry_points as e; '
        "print(*[p.load().__module__ for p in e(group='console_scripts') "
        "if p.name == 'classifier_node'][:1])\"")
    assert result.stdout == f'{NAME}.node.entry\n', result.stderr
