"""What ROS cannot start with: one line that names the cause and what to do, exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys

from bags.sample_bags import write_bag
import pytest
from resnet_trt_node.errors import UsageError
from resnet_trt_node.node.ros.ros_environment import check_ros_environment

pytestmark = pytest.mark.slow

_LONG = 'a' * 300
_NODE = ('resnet_trt_node.node.entry', '--ros-args', '-p', 'backend:=simulated')
_TOP = ('resnet_trt_node.cli.main', 'top', '--wait', '1')


def _start(*words, **environment):
    done = subprocess.run(
        [sys.executable, '-m', *words], capture_output=True, text=True, timeout=300,
        env={**os.environ, **environment})
    assert done.returncode == 2, done.stdout + done.stderr
    assert 'Traceback' not in done.stdout + done.stderr
    return done


@pytest.mark.parametrize('words', [_NODE, _TOP], ids=['node', 'top'])
@pytest.mark.parametrize(('name', 'value', 'keyword'), [
    ('RMW_IMPLEMENTATION', 'nonsense', 'ros-<distro>-nonsense'),
    ('ROS_DOMAIN_ID', '9999', 'from 0 to 232'),
    ('ROS_LOG_DIR', '/proc/nothing', 'can be written'),
    ('ROS_LOG_DIR', '/proc', 'can be written'),
])
def test_an_environment_that_ros_cannot_start_in(words, name, value, keyword):
    done = _start(*words, **{name: value})
    line, = done.stderr.splitlines()
    assert name in line
    assert value in line
    assert keyword in line


def test_replay_refuses_the_same(tmp_path):
    bag = write_bag(tmp_path / 'bag')
    done = _start('resnet_trt_node.cli.main', 'replay', str(bag), ROS_DOMAIN_ID='233')
    line, = done.stderr.splitlines()
    assert line.startswith('resnet_trt replay: ROS_DOMAIN_ID is 233')


@pytest.mark.parametrize(('words', 'subject', 'keyword'), [
    (['-p', f'cameras:=[{_LONG}]'], 'aaa', 'names of cameras'),
    (['-r', f'__node:={_LONG}'], 'node', 'cameras, node (__node)'),
    (['-r', f'__ns:=/{_LONG}'], 'node', '__ns'),
    (['-r', f'image:=/{_LONG}'], 'image', 'remapped topic'),
    (['-r', 'image:=classification'], 'image', 'one type only'),
    (['-r', 'label_info:=classification'], 'label_info', 'the remappings'),
    (['-r', '/diagnostics:=/rosout'], 'node', 'the remappings'),
])
def test_names_that_cannot_be_used(words, subject, keyword):
    done = _start(*_NODE, *words)
    line, = [one for one in (done.stdout + done.stderr).splitlines() if keyword in one]
    assert f': {subject}' in line
    assert len(line) < 500


@pytest.mark.parametrize('environment', [
    {}, {'ROS_DOMAIN_ID': ''}, {'ROS_DOMAIN_ID': ' 0 '}, {'ROS_DOMAIN_ID': '232'},
    {'ROS_DOMAIN_ID': '0x10'}, {'ROS_DOMAIN_ID': '07'}, {'RMW_IMPLEMENTATION': ''}])
def test_an_environment_that_is_well(environment):
    check_ros_environment(environment)


@pytest.mark.parametrize('domain', ['233', '-1', 'abc', '1.5', '\x1b[31m'])
def test_a_domain_that_is_not(domain):
    with pytest.raises(UsageError, match='from 0 to 232') as caught:
        check_ros_environment({'ROS_DOMAIN_ID': domain})
    assert '\x1b' not in str(caught.value)
