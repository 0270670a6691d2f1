"""Completion, by the protocol in which argcomplete's shell code asks."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys

import pytest
from resnet_trt_node.cli.main import COMMANDS

pytest.importorskip('argcomplete', reason='argcomplete is not installed')
pytestmark = pytest.mark.slow

#: Tells what was imported, where argcomplete ends the process.
PROBE = (
    'import os, sys\n'
    'end = os._exit\n'
    'def tell(code):\n'
    '    print(*sys.modules, file=sys.stderr, flush=True)\n'
    '    end(code)\n'
    'os._exit = tell\n'
    'from resnet_trt_node.cli.main import main\n'
    'main()\n')


def complete(line: str, folder: Path, shell: str = 'bash') -> tuple[set[str], set[str]]:
    """Return what a line may go on with, and the packages that were imported for it."""
    answer = folder.parent / 'answer'
    done = subprocess.run(
        [sys.executable, '-c', PROBE], cwd=folder, capture_output=True, text=True, timeout=300,
        env={**os.environ, '_ARGCOMPLETE': '1', '_ARGCOMPLETE_IFS': '\v',
             '_ARGCOMPLETE_SHELL': shell, '_ARGCOMPLETE_SUPPRESS_SPACE': '1',
             '_ARGCOMPLETE_STDOUT_FILENAME': str(answer), 'COMP_LINE': line,
             'COMP_POINT': str(len(line)), 'COMP_TYPE': '9'})
    assert done.returncode == 0, done.stderr
    found = answer.read_text().split('\v') if answer.exists() else []
    # zsh is told the help too.
    return ({word.partition(':')[0].strip() for word in found if word},
            {name.partition('.')[0] for name in done.stderr.split()})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / 'here'
    for name in ('photos', 'models'):
        (place / name).mkdir(parents=True)
    for name in ('model.onnx', 'cat.jpg', 'labels.tsv', 'mine.zip'):
        (place / name).write_text('')
    return place


@pytest.mark.parametrize('shell', ['bash', 'zsh'])
def test_commands(folder: Path, shell: str) -> None:
    found, imported = complete('resnet_trt ', folder, shell)
    assert found >= set(COMMANDS)
    assert complete('resnet_trt cla', folder, shell)[0] == {'classify'}
    assert 'argcomplete' in imported
    assert not imported & {'torch', 'onnx', 'onnxruntime', 'cv2', 'rclpy', 'polygraphy', 'numpy'}


@pytest.mark.parametrize(('line', 'wanted'), [
    ('classify --batch', {'--batch-size'}),
    ('classify --backend t', {'tensorrt', 'tensorrt_rtx', 'tensorrt_lean', 'tvm'}),
    ('train --mix ', {'none', 'mixup', 'cutmix'}),
    ('classify ', {'model.onnx', 'photos/', 'models/'}),
    ('classify model.onnx c', {'cat.jpg'}),
    ('evaluate model.onnx --labels l', {'labels.tsv'}),
    ('quantize model.onnx --images m', {'mine.zip', 'model.onnx', 'models/'}),
    ('train --images ', {'mine.zip', 'photos/', 'models/'}),
    ('classify model.onnx cat.jpg --annotate ', {'photos/', 'models/'}),
    # A number is not a file.
    ('classify model.onnx cat.jpg --top-k ', set()),
])
def test_options_choices_and_files(folder: Path, line: str, wanted: set[str]) -> None:
    found, imported = complete(f'resnet_trt {line}', folder)
    assert {word for word in found if not word.startswith('-') or line.endswith('batch')} == wanted
    assert not imported & {'torch', 'onnx', 'onnxruntime', 'cv2', 'rclpy', 'polygraphy'}
