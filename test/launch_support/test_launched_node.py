"""The launch files with the real node, as users run them; needs the launch packages."""

import os
import re
import signal
import subprocess
import sys
from threading import Timer

from bags.image_bags import BagWriter
from models.tiny_model import colour_picture, COLOURS, write_tiny_model
from nodes.installed_package import install_package
import pytest
from repository import HELPERS, REPOSITORY

pytestmark = pytest.mark.slow

FRAMES = 12
PERIOD_NS = 50_000_000
#: A launch takes two seconds; one that hangs is killed after these.
DEADLINE_S = 300.0

try:
    import launch_ros.actions  # noqa: F401
except ImportError:
    pytest.skip(
        'launch and launch_ros are not installed: they have no wheels; source a ROS 2',
        allow_module_level=True)


@pytest.fixture
def environment(tmp_path):
    """Return the environment of a process for which the package is installed."""
    return {**os.environ, **install_package(tmp_path / 'prefix'), 'TMPDIR': str(tmp_path),
            'PYTHONUNBUFFERED': '1'}


@pytest.fixture
def model(tmp_path):
    return write_tiny_model(tmp_path / 'tiny.onnx')


@pytest.fixture
def bag(tmp_path):
    with BagWriter(tmp_path / 'bag') as writer:
        for index in range(FRAMES):
            picture = colour_picture(list(COLOURS)[index % len(COLOURS)])
            for topic in ('/front/image', '/left/image'):
                writer.write_image(topic, picture, 10**18 + index * PERIOD_NS, 'cam', 'rgb8')
    return tmp_path / 'bag'


class Launched:
    """A launch file in its own process; what it prints comes line by line."""

    def __init__(self, environment, file, **given):
        self.process = subprocess.Popen(
            [sys.executable, str(HELPERS / 'nodes' / 'launch_file.py'),
             str(REPOSITORY / 'launch' / file),
             *(f'{name}:={value}' for name, value in given.items())],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True)
        self.text = ''
        self._watchdog = Timer(DEADLINE_S, os.killpg, (self.process.pid, signal.SIGKILL))
        self._watchdog.start()

    def read_until(self, words):
        for line in self.process.stdout:
            self.text += line
            if words in line:
                return
        pytest.fail(f'{words!r} was not printed:\n{self.text}')

    def wait(self):
        """Return the exit code, after the end of the launch and of all it started."""
        self.text += self.process.stdout.read()
        code = self.process.wait()
        self._watchdog.cancel()
        return code

    def accounts(self):
        """Return the node's (received, answered, dropped)."""
        found = re.search(
            r'(\d+) frames received, (\d+) answered, dropped: (.*?)(?:\x1b|$)', self.text, re.M)
        assert found, self.text
        dropped = sum(int(number) for number in re.findall(r'\d+', found[3]))
        return int(found[1]), int(found[2]), dropped


def test_the_node_starts_and_ends_with_an_interrupt(environment, model):
    launched = Launched(environment, 'classify.launch.py', model_path=model, namespace='car')
    launched.read_until('active, listening to /car/image')
    launched.process.send_signal(signal.SIGINT)
    assert launched.wait() == 0
    assert 'finished cleanly' in launched.text
    # launch itself may be interrupted within a callback and print one.
    assert '] Traceback' not in launched.text


def test_a_launch_that_built_nothing_ends_with_exit_code_1(environment, model):
    launched = Launched(
        environment, 'classify.launch.py', model_path=model, backend='onnxruntime',
        build_only='True')
    assert launched.wait() == 1
    assert 'build_only: onnxruntime' in launched.text
    assert 'exit code 2' in launched.text


def test_a_node_that_ends_is_started_anew_where_that_is_wanted(environment, model):
    launched = Launched(environment, 'classify.launch.py', model_path=model, respawn='true')
    launched.read_until('active, listening to /image')
    node = int(re.findall(r'process started with pid \[(\d+)]', launched.text)[-1])
    os.kill(node, signal.SIGKILL)
    launched.read_until('process has died')
    launched.read_until('active, listening to /image')
    launched.process.send_signal(signal.SIGINT)
    assert launched.wait() == 0


@pytest.mark.parametrize('profile', ['', 'large_images'])
def test_a_bag_is_played_whole_and_everything_ends(environment, model, bag, profile):
    launched = Launched(
        environment, 'replay.launch.py', model_path=model, bag=bag, cameras='front,left',
        dds_profile=profile)
    assert launched.wait() == 0, launched.text
    assert f'/front/image: {FRAMES} images to 1 subscription' in launched.text, launched.text
    received, answered, dropped = launched.accounts()
    assert received == 2 * FRAMES
    assert answered + dropped == received
    assert 'XMLPARSER' not in launched.text
    # The newest frame wins, so a busy machine may supersede some.
    assert answered >= 2


def test_a_node_that_fails_ends_the_replay_with_exit_code_1(environment, bag):
    launched = Launched(
        environment, 'replay.launch.py', model_path='/nowhere.onnx', bag=bag,
        image_topic='/front/image')
    assert launched.wait() == 1
    assert 'no model at /nowhere.onnx' in launched.text
    assert 'exit code 2' in launched.text


@pytest.mark.parametrize(('given', 'message'), [
    ({'bag': '/nowhere'}, 'there is no bag /nowhere: check the path'),
    ({}, "'bag'"),
    ({'bag': '{bag}'}, 'the bag has the image topics /front/image, /left/image: choose with'),
    ({'bag': '{bag}', 'image_topic': '/front/image', 'rate': '-1'}, 'rate: -1 is out of range'),
    ({'bag': '{bag}', 'loop': 'maybe'}, "loop: 'maybe' is neither true nor false"),
])
def test_what_cannot_be_played_ends_the_launch_with_a_message(environment, bag, given, message):
    launched = Launched(environment, 'replay.launch.py', **{
        name: value.format(bag=bag) for name, value in given.items()})
    assert launched.wait() == 1
    assert message in launched.text
    assert 'process started' not in launched.text
