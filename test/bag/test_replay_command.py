"""The command replay: what it publishes and reports, how it ends, and what it refuses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from bags.sample_bags import write_bag
from documentation.json_schemas import checked
import pytest
from sensor_msgs.msg import Image

FRAMES = 6


@pytest.fixture
def path(tmp_path):
    return write_bag(tmp_path / 'bag', FRAMES)


def command(*words) -> list[str]:
    return [sys.executable, '-m', 'resnet_trt_node.cli.main', 'replay', *map(str, words)]


def test_the_command_publishes_and_reports_in_json(path, listener):
    listener.subscribe(Image, '/camera/image')
    done = subprocess.run(
        command(path, '--rate', 5, '--topic', '/front/image:=/camera/image', '--wait', 10,
                '--json'), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
    report = checked(done.stdout)
    assert report['topics'] == {'/front/image': {
        'topic': '/camera/image', 'msgtype': 'sensor_msgs/msg/Image', 'published': FRAMES,
        'subscriptions': 1, 'acknowledged': True}}
    assert len(listener.wait('/camera/image', FRAMES)) == FRAMES


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_ends_cleanly(path, listener, number):
    listener.subscribe(Image, '/front/image')
    process = subprocess.Popen(
        command(path, '--loop', '--wait', 10, '--json', '--topic', '/front/image'),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        listener.wait('/front/image', 2)
        process.send_signal(number)
        output, errors = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, errors) == (0, '')
    report = checked(output)
    assert report['interrupted'] is True
    assert report['topics']['/front/image']['published'] >= 2


@pytest.mark.slow
@pytest.mark.parametrize(('words', 'keyword'), [
    (['--topic', '/rear'], '/rear'), (['--topic', '/front/image:='], 'A:=B'),
    (['--wait', '-1'], '--wait'), (['--rate', 'nan'], 'rate')])
def test_the_command_refuses_in_one_line(path, words, keyword):
    done = subprocess.run(command(path, *words), capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr.startswith('resnet_trt replay: ')
    assert done.stderr.count('\n') == 1
    assert keyword in done.stderr


@pytest.mark.slow
def test_without_ros_the_command_names_what_to_source(path, tmp_path):
    (tmp_path / 'rclpy.py').write_text("raise ModuleNotFoundError('none', name='rclpy')")
    done = subprocess.run(
        command(path), capture_output=True, text=True, timeout=300,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(
            [str(tmp_path), os.environ.get('PYTHONPATH', '')])})
    assert (done.returncode, done.stderr.count('\n')) == (2, 1)
    assert 'replay needs ROS 2' in done.stderr
    assert 'setup.bash' in done.stderr
    assert 'make venv' in done.stderr
