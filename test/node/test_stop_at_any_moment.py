"""A signal ends the node with 0, whatever it is at."""

from __future__ import annotations

import os
import signal

from bench.children import wait_until
from nodes.node_process import NodeProcess
import pytest

pytestmark = pytest.mark.slow

#: Longer than the end of a process is waited for.
_LONG = 3600
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SLOW_IMPORT = '\n'.join((
    'import sys',
    'from time import sleep',
    'class Slow:',
    '    def find_spec(self, name, path=None, target=None):',
    "        if name == 'cv2':",
    "            print('importing', flush=True)",
    f'            sleep({_LONG})',
    'sys.meta_path.insert(0, Slow())'))
#: Each camera's topics take a while, as those of the thousandth do.
_SLOW_TOPICS = '\n'.join((
    'from time import sleep',
    'from resnet_trt_node.node.ros.topics.camera_topics import CameraTopics',
    'do = CameraTopics.{method}',
    'def slow(self, *words):',
    "    print('{method}', flush=True)",
    '    sleep(0.2)',
    '    do(self, *words)',
    'CameraTopics.{method} = slow'))
_HANG_AT_THE_END = '\n'.join((
    'from time import sleep',
    'from resnet_trt_node.node.classifier_node import ClassifierNode',
    'def hang(self):',
    f'    sleep({_LONG})',
    'ClassifierNode.destroy_node = hang'))


@pytest.mark.parametrize('number', _SIGNALS)
def test_while_it_is_importing(number):
    with NodeProcess('-p', 'backend:=simulated', prepare=_SLOW_IMPORT) as node:
        node.wait_for('importing')
        code = node.stop(number)
    assert code == 0
    assert node.log == 'importing'


@pytest.mark.parametrize('number', _SIGNALS)
def test_while_cv_bridge_is_tried(tmp_path, monkeypatch, number):
    marker = tmp_path / 'pid'
    (tmp_path / 'cv_bridge').mkdir()
    (tmp_path / 'cv_bridge' / '__init__.py').write_text(
        'import os, pathlib, signal, time\n'
        'signal.alarm(0)\n'
        f'pathlib.Path({str(tmp_path / "new")!r}).write_text(str(os.getpid()))\n'
        f'os.replace({str(tmp_path / "new")!r}, {str(marker)!r})\n'
        f'time.sleep({_LONG})\n')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path), prepend=os.pathsep)
    with NodeProcess('-p', 'backend:=simulated') as node:
        wait_until(marker.exists, 'cv_bridge to be tried', 180.0)
        code = node.stop(number)
    assert code == 0, node.log
    assert 'Traceback' not in node.log
    # The other process has ended too.
    with pytest.raises(ProcessLookupError):
        os.kill(int(marker.read_text()), 0)


@pytest.mark.parametrize('method', ['__init__', 'subscribe'])
def test_while_the_topics_of_many_cameras_are_created(method):
    cameras = ', '.join(f'camera_{number}' for number in range(300))
    with NodeProcess('-p', 'backend:=simulated', '-p', f'cameras:=[{cameras}]',
                     prepare=_SLOW_TOPICS.format(method=method)) as node:
        node.wait_for(method)
        code = node.stop()
    assert code == 0, node.log
    assert 'Traceback' not in node.log
    assert node.log.count(method) < 300


def test_destroying_the_topics_is_not_waited_for():
    with NodeProcess(
            '-p', 'backend:=simulated', prepare=_HANG_AT_THE_END, patient=False) as node:
        node.wait_for('active, listening')
        code = node.stop()
    assert code == 0, node.log
    assert 'frames received' in node.log
    assert 'forced to end' in node.log
