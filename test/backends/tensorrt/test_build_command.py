"""The command build, on the real parser and builder of TensorRT-RTX."""

from __future__ import annotations

import os
from pathlib import Path
import signal
import subprocess
import sys

from documentation.json_schemas import checked
from models.tiny_model import write_tiny_model
import pytest
from resnet_trt_node.backends.tensorrt.builder import split_profiles
from resnet_trt_node.cli.main import main
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters


@pytest.fixture
def model(tmp_path):
    return write_tiny_model(tmp_path / 'tiny.onnx')


def build_command(*words):
    return main(['build', *map(str, words)])


def test_the_command_builds_once_and_then_finds(rtx, model, tmp_path, capsys):
    words = (model, '--flavour', 'tensorrt_rtx', '--target-sm', '89', '--batch-size', 4,
             '--opt-batch-size', '1,4', '--engine-dir', tmp_path / 'engines', '--json')
    assert build_command(*words) == 0
    first = checked(capsys.readouterr().out)
    assert first['built'] is True
    assert 'first engine' in first['reason']
    assert first['compute_capability'] == '8.9'
    assert first['profiles'] == [[1, 1, 2], [3, 4, 4]]
    assert Path(first['engine']).stat().st_size == first['bytes']
    assert build_command(*words) == 0
    again = checked(capsys.readouterr().out)
    assert (again['built'], again['engine']) == (False, first['engine'])
    assert build_command(*words, '--force') == 0
    assert 'asked for' in checked(capsys.readouterr().out)['reason']
    assert build_command(*words, '--tf32') == 0
    assert checked(capsys.readouterr().out)['reason'] == 'tf32 false -> true'
    assert first['sparsity'] is None
    for _ in range(2):
        assert build_command(*words, '--sparse-weights') == 0
        found = checked(capsys.readouterr().out)
        assert found['sparsity'] == {
            'two_four': 0, 'eligible': None, 'chosen': None, 'layers': []}
        assert found['options']['sparse_weights'] == 'true'
    assert not found['built']


@pytest.mark.parametrize(('words', 'profiles', 'keyword'), [
    ([], [[1, 1, 1]], 'queue_depth is 1'),
    (['--batch-size', '4'], [[1, 1, 2], [3, 4, 4]], 'queue_depth is 4'),
    (['--batch-size', '4', '--opt-batch-size', '4', '--tf32'], [[1, 4, 4]],
     'opt_batch_size 4, tf32 true'),
    (['--batch-size', '4', '--opt-batch-size', '1,2,4'], [[1, 1, 1], [2, 2, 2], [3, 4, 4]],
     'does not find'),
    (['--batch-size', '4', '--min-batch-size', '2'], [[2, 4, 4]], 'from 1 on'),
])
def test_it_prints_which_node_finds_the_engine(
        rtx, model, tmp_path, capsys, words, profiles, keyword):
    words = (model, '--flavour', 'tensorrt_rtx', '--target-sm', '8.9', '--engine-dir',
             tmp_path / 'engines', *words)
    assert build_command(*words) == 0
    assert keyword in capsys.readouterr().out
    assert build_command(*words, '--json') == 0
    assert checked(capsys.readouterr().out)['profiles'] == profiles


@pytest.mark.parametrize('cameras', [(), ('front', 'left', 'rear')])
def test_it_builds_what_the_node_asks_for(rtx, model, tmp_path, capsys, cameras):
    given = NodeParameters(cameras=cameras).backend_options(2)
    wanted = split_profiles(1, given['opt_batch_sizes'], given['max_batch_size'])
    assert build_command(
        model, '--flavour', 'tensorrt_rtx', '--target-sm', '8.9', '--engine-dir',
        tmp_path / 'engines', '--json', '--batch-size', max(1, len(cameras))) == 0
    assert checked(capsys.readouterr().out)['profiles'] == [list(one) for one in wanted]


@pytest.mark.parametrize(('words', 'message'), [
    (['--batch-size', '0'], 'batch_size is 0'),
    (['--batch-size', '4', '--opt-batch-size', '8'], 'opt_batch_sizes are'),
    (['--batch-size', '4', '--min-batch-size', '5'], 'batch sizes 5 to 4'),
    (['--target-sm', '3.5'], 'it knows 7.5'),
    (['--precision', 'fp16'], 'resnet_trt export --precision fp16'),
    (['--engine-dir', '/proc/engines'], 'folder /proc/engines'),
])
def test_the_command_refuses_in_one_line(rtx, model, tmp_path, capsys, words, message):
    assert build_command(
        model, '--flavour', 'tensorrt_rtx', '--target-sm', '8.9',
        '--engine-dir', tmp_path / 'engines', *words) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('resnet_trt build: ')
    assert message in error


def test_the_command_needs_a_model(rtx, tmp_path, capsys):
    assert build_command(
        tmp_path / 'nowhere.onnx', '--flavour', 'tensorrt_rtx', '--target-sm', '8.9') == 2
    assert 'no model at' in capsys.readouterr().err


def test_killing_the_command_in_mid_build_leaves_no_engine(rtx, model, tmp_path):
    """The process dies by SIGKILL inside TensorRT's builder."""
    script = (
        'import os, signal, sys\n'
        f'sys.path[:0] = {sys.path!r}\n'
        'from resnet_trt_node.backends.tensorrt import progress as build_progress\n'
        'from resnet_trt_node.cli.main import main\n'
        'build_progress.BuildProgress.start = lambda *arguments: os.kill(\n'
        '    os.getpid(), signal.SIGKILL)\n'
        'main(sys.argv[1:])\n')
    engines = tmp_path / 'engines'
    words = ['build', str(model), '--flavour', 'tensorrt_rtx', '--target-sm', '8.9',
             '--engine-dir', str(engines)]
    done = subprocess.run([sys.executable, '-c', script, *words], timeout=600)
    assert done.returncode == -signal.SIGKILL
    assert [file.name for file in engines.iterdir()] == ['.lock']
    assert os.access(engines, os.W_OK)
    assert main(words) == 0
    assert len(list(engines.glob('*.engine'))) == 1
