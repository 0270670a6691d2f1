"""A package that is missing or does not load: one line with the remedy, and exit code 2."""

from __future__ import annotations

import subprocess
import sys

import pytest
from resnet_trt_node.node.import_errors import import_failure


@pytest.mark.parametrize(('name', 'text', 'remedy'), [
    ('vision_msgs', "No module named 'vision_msgs'",
     'sudo apt install ros-<distro>-vision-msgs, then source'),
    ('std_srvs.srv', 'x', 'sudo apt install ros-<distro>-std-srvs'),
    ('rclpy', "No module named 'rclpy'", 'source /opt/ros/<distro>/setup.bash'),
    ('rclpy._rclpy_pybind11', "No module named 'rclpy._rclpy_pybind11'",
     'built for another Python'),
    ('cv2', 'numpy.core.multiarray failed to import', "pip install 'numpy<2'"),
    ('rich', "No module named 'rich'", 'install it for the Python that runs this'),
    (None, 'two\n  lines \x1b[31m', 'install it')])
def test_the_remedy_is_by_what_is_missing(name, text, remedy):
    message = import_failure(ImportError(text, name=name))
    assert remedy in message
    assert message.isprintable()
    assert message.startswith(
        f'{name.partition(".")[0] if name else "a package"} cannot be imported (')


@pytest.mark.slow
@pytest.mark.parametrize('name', ['vision_msgs', 'rclpy', 'cv2'])
def test_the_node_says_so_in_one_line(name):
    done = subprocess.run(
        [sys.executable, '-c', f'import sys; sys.modules[{name!r}] = None; '
         'from resnet_trt_node.node.entry import main; sys.exit(main())'],
        capture_output=True, text=True, timeout=300)
    line, = done.stderr.splitlines()
    assert line.startswith(f'classifier_node: {name} cannot be imported (')
    assert (done.returncode, done.stdout) == (2, '')


@pytest.mark.slow
def test_an_error_of_the_package_itself_keeps_its_traceback():
    done = subprocess.run(
        [sys.executable, '-c', 'import sys; sys.modules["resnet_trt_node.node.main"] = None; '
         'from resnet_trt_node.node.entry import main; sys.exit(main())'],
        capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert 'Traceback' in done.stderr
