"""A sourced ROS brings pytest plugins along that this pytest cannot load."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize('name', ['launch_testing', 'launch_ros'])
def test_plugins_of_a_sourced_ros_are_left_out(
        repository: Path, tmp_path: Path, name: str) -> None:
    """The plugin is found by its entry point, as in /opt/ros."""
    about = tmp_path / f'{name}-3.7.1.dist-info'
    about.mkdir()
    (about / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 3.7.1\n')
    (about / 'entry_points.txt').write_text(f'[pytest11]\n{name} = broken_hooks\n')
    (tmp_path / 'broken_hooks.py').write_text('def pytest_pycollect_makemodule(path): pass\n')

    def collect(*options: str) -> int:
        path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get('PYTHONPATH')])])
        return subprocess.run(
            [sys.executable, '-m', 'pytest', '--collect-only', '-q', '-p', 'no:cacheprovider',
             *options, 'test/labels/test_names.py'], cwd=repository, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env={**os.environ, 'PYTHONPATH': path}).returncode
    assert collect() == 0
    assert collect('-o', 'addopts=') != 0
