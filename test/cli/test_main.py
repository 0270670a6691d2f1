"""The command line as a whole: help, unknown words, errors, interruption, closed pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from resnet_trt_node import __version__
from resnet_trt_node.cli.main import COMMANDS, main


def test_no_command_shows_the_usage(resnet_trt):
    outcome = resnet_trt()
    assert outcome.code == 2
    assert 'usage: resnet_trt' in outcome.err
    assert 'Traceback' not in outcome.err


def test_help_lists_every_command(resnet_trt):
    outcome = resnet_trt('--help')
    assert outcome.code == 0
    for name, text in COMMANDS.items():
        assert name in outcome.out
        assert text.split(',')[0] in ' '.join(outcome.out.split())


def test_ctrl_c_during_the_imports_of_a_command_shows_no_traceback(monkeypatch, capsys):
    def interrupted(name):
        raise KeyboardInterrupt
    monkeypatch.setattr('resnet_trt_node.cli.main.import_module', interrupted)
    assert main(['replay', 'drive']) == 130
    assert capsys.readouterr().err == '\n'


@pytest.mark.slow
@pytest.mark.parametrize('name', COMMANDS)
def test_every_command_explains_its_options(resnet_trt, name):
    outcome = resnet_trt(name, '--help')
    assert outcome.code == 0
    assert f'usage: resnet_trt {name}' in outcome.out
    for default in ('None', 'False', 'True', '[', '('):
        assert f'default: {default}' not in outcome.out


def test_help_shows_defaults_of_0_and_1(resnet_trt):
    text = ' '.join(resnet_trt('build', '--help').out.split())
    assert '(default: 0)' in text
    assert '(default: 1)' in text


def test_a_command_that_needs_pytorch_names_its_package(monkeypatch, capsys):
    def without_pytorch(name):
        raise ModuleNotFoundError("No module named 'torch'", name='torch')
    monkeypatch.setattr('resnet_trt_node.cli.main.import_module', without_pytorch)
    assert main(['export']) == 2
    message = ' '.join(capsys.readouterr().err.split())
    assert message.startswith('resnet_trt export: ')
    assert message.endswith('pip install torch')


def test_a_package_that_cannot_be_imported_is_reported_in_one_line(resnet_trt, monkeypatch):
    # What `import cv2` raises where OpenCV was built for another NumPy.
    monkeypatch.setitem(sys.modules, 'resnet_trt_node.cli.models.inspect', None)
    outcome = resnet_trt('inspect', 'model.onnx')
    assert outcome.code == 2
    assert outcome.err.startswith('resnet_trt inspect: ')
    assert 'package' in outcome.err
    assert outcome.err.count('\n') == 1


def test_the_version_is_printed(resnet_trt):
    outcome = resnet_trt('--version')
    assert (outcome.code, outcome.out.strip()) == (0, f'resnet_trt {__version__}')


@pytest.mark.parametrize('words', [
    ['bake'], ['classify'], ['classify', 'model.onnx'], ['evaluate', 'model.onnx'],
    ['classify', 'model.onnx', 'a.png', '--backend', 'abacus'],
    ['classify', 'model.onnx', 'a.png', '--batch-size', 'many'],
    ['classify', 'model.onnx', 'a.png', '--resize-method', 'loose']])
def test_words_that_make_no_command_are_refused(resnet_trt, words):
    outcome = resnet_trt(*words)
    assert (outcome.code, outcome.out) == (2, '')
    assert outcome.err.startswith('resnet_trt')
    assert outcome.err.count('\n') == 1


def run(words, **kwargs) -> subprocess.CompletedProcess:
    """Run the command line as a process of its own."""
    return subprocess.run(
        [sys.executable, '-m', 'resnet_trt_node.cli.main', *[str(word) for word in words]],
        capture_output=True, text=True, timeout=300, **kwargs)


@pytest.mark.slow
def test_as_a_process_an_error_is_one_line_and_code_2(tmp_path):
    done = run(['classify', tmp_path / 'missing.onnx', tmp_path])
    assert (done.returncode, done.stdout) == (2, '')
    assert len(done.stderr.splitlines()) == 1
    assert 'Traceback' not in done.stderr


@pytest.mark.slow
def test_as_a_process_no_progress_bar_is_drawn_into_a_pipe(colour_model, pictures):
    done = run(['classify', colour_model, pictures, '--top-k', 1, '--backend', 'onnxruntime'])
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 4
    assert len(done.stderr.splitlines()) == 1
    assert '\r' not in done.stderr


@pytest.mark.slow
def test_a_reader_that_closes_the_pipe_is_no_error(colour_model, pictures):
    words = [sys.executable, '-m', 'resnet_trt_node.cli.main', 'classify',
             str(colour_model), str(pictures)]
    with subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(60) == 0
    assert 'Traceback' not in errors
    assert 'Exception ignored' not in errors


@pytest.mark.slow
@pytest.mark.parametrize('options', [[], ['--json']])
def test_a_full_disk_is_one_line_and_code_2(colour_model, options):
    with open('/dev/full', 'w') as full:
        done = subprocess.run(
            [sys.executable, '-m', 'resnet_trt_node.cli.main', 'inspect', str(colour_model),
             *options], stdout=full, stderr=subprocess.PIPE, text=True, timeout=300)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert done.stderr.startswith('resnet_trt inspect: No space left on device')


@pytest.mark.slow
@pytest.mark.parametrize('options', ['', '--json'])
def test_without_an_output_a_command_does_its_work(colour_model, options):
    done = subprocess.run(
        ['sh', '-c', f'exec "$0" -m resnet_trt_node.cli.main inspect "$1" {options} >&-',
         sys.executable, str(colour_model)], stderr=subprocess.PIPE, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, '')


@pytest.mark.slow
@pytest.mark.parametrize('encoding', ['utf-8:strict', 'ascii:strict', 'latin-1:strict'])
@pytest.mark.parametrize('name', [b'caf\xe9.png', 'caf\u00e9 \U0001f600.png'.encode()])
def test_any_file_name_can_be_printed(colour_model, pictures, encoding, name):
    path = pictures / os.fsdecode(name)
    try:
        (pictures / 'red.png').rename(path)
    except OSError:
        pytest.skip('this file system takes Unicode only')
    env = {**os.environ, 'PYTHONIOENCODING': encoding}
    words = ['classify', colour_model, path, '--backend', 'onnxruntime']
    assert 'caf' in run(words, env=env, errors='replace').stdout
    document = json.loads(run([*words, '--json'], env=env).stdout)
    assert str(path) in json.dumps(document, ensure_ascii=False)
