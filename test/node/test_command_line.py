"""What the command line of `classifier_node` takes and refuses."""

from __future__ import annotations

import subprocess
import sys

from nodes.node_process import NodeProcess
import pytest
from resnet_trt_node.node.ros.parameters.node_parameters import parameter_fields

pytestmark = pytest.mark.slow


def start(*words):
    return subprocess.run(
        [sys.executable, '-m', 'resnet_trt_node.node.entry', *map(str, words)], timeout=300,
        capture_output=True, text=True)


@pytest.mark.parametrize(('words', 'argument'), [
    (['--ros-args', '--params-file', 'nowhere.yaml'], '--params-file nowhere.yaml'),
    (['--ros-args', 'model_path:=x'], "'model_path:=x'"),
    (['--ros-args', '-p', 'model_path:='], "'-p model_path:='"),
    (['--ros-args', '--log-level', 'loud'], "'--log-level loud'"),
    (['-p', 'top_k:=3'], "'-p'"),
    (['--model', 'x'], "'--model'"),
])
def test_a_wrong_command_line_ends_with_one_message_and_exit_code_2(words, argument):
    done = start(*words)
    assert done.returncode == 2
    line, = (line for line in done.stderr.splitlines() if line.startswith('classifier_node: '))
    assert argument in line
    assert 'usage: classifier_node' in line
    assert 'Traceback' not in done.stderr


def test_help_names_every_parameter():
    done = start('--help')
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.startswith('usage: classifier_node [--ros-args ')
    for name, parameter in parameter_fields().items():
        assert f'  {name} (' in done.stdout
        assert parameter.metadata['description'][:60] in done.stdout


@pytest.mark.parametrize('as_file', [True, False])
def test_the_empty_list_of_cameras_may_be_written_as_yaml_has_it(peer, tmp_path, as_file):
    file = tmp_path / 'mine.yaml'
    file.write_text('/**:\n  ros__parameters:\n    cameras: []\n')
    peer.listen_to_results()
    with NodeProcess('-p', 'backend:=simulated', *(
            ['--params-file', str(file)] if as_file else ['-p', 'cameras:=[]'])) as node:
        peer.connect('image')
        assert node.stop() == 0
    assert 'active, listening to /image' in node.log
