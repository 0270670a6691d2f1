"""A backend in another Python: the protocol, the same answers, refusals and deaths."""

from __future__ import annotations

from io import BytesIO
import os
from pathlib import Path
import signal
import struct
import sys
from time import perf_counter_ns

from fake_subject import OPTIONS
import numpy as np
import pytest
from resnet_trt_node.compare.choice import (
    check_used, Choice, labels_of, open_choice, open_here, parse_choices)
from resnet_trt_node.compare.remote import WorkerSubject
from resnet_trt_node.compare.wire import (
    options_from_json, options_to_json, receive, send, to_array, WireError)
from resnet_trt_node.compare.worker import serve
from resnet_trt_node.errors import (
    BackendUnavailable, InferenceError, ModelError, UsageError)


@pytest.fixture
def worker(model):
    with open_choice(Choice('onnxruntime', sys.executable), model, OPTIONS) as opened:
        yield opened


def script(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_a_worker_answers_like_this_process(worker, subject, frames):
    assert isinstance(worker, WorkerSubject)
    assert worker.process_id != os.getpid()
    assert (worker.spec, worker.info) == (subject.spec, subject.info)
    assert worker.python == subject.python
    for batch in (frames[:1], frames[2:6], frames[8:]):
        np.testing.assert_array_equal(
            worker.infer(batch).probabilities, subject.infer(batch).probabilities)


@pytest.mark.parametrize('python_path', ['', ':', os.pathsep.join([os.getcwd(), ''])])
def test_it_imports_nothing_from_the_current_folder(
        model, frames, tmp_path, monkeypatch, python_path):
    for name in ('numpy', 'onnx', 'onnxruntime', 'struct', 'resnet_trt_node'):
        (tmp_path / f'{name}.py').write_text('raise SystemExit("of the current folder")')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', python_path)
    with WorkerSubject(sys.executable, 'onnxruntime', model, OPTIONS) as worker:
        assert len(worker.infer(frames[:2]).probabilities) == 2


def test_it_takes_the_times_itself(model, frames):
    options = {'max_batch_size': 4, 'num_buffers': 1, 'simulated_ms': 20}
    with open_choice(Choice('simulated', sys.executable), model, options) as worker:
        start_ns = perf_counter_ns()
        answer = worker.infer(frames[:4])
        around_ns = perf_counter_ns() - start_ns
        assert 20e6 <= answer.took_ns < around_ns
        took_ns = worker.time(2, 5)
        assert len(took_ns) == 5
        assert min(took_ns) >= 20e6


def test_it_refuses_like_this_process_and_goes_on(worker, frames):
    with pytest.raises(UsageError, match='up to'):
        worker.load(frames[:5])
    with pytest.raises(UsageError, match=r'load first.*\(in .*python'):
        worker.time(0, 1)
    assert len(worker.infer(frames[:2]).probabilities) == 2


def test_closing_ends_the_process(model, frames):
    worker = open_choice(Choice('onnxruntime', sys.executable), model, OPTIONS)
    process = worker.process_id
    worker.close()
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    with pytest.raises(UsageError, match='closed'):
        worker.infer(frames[:1])


def test_a_worker_that_is_killed_is_told(worker, frames):
    worker.load(frames[:1])
    os.kill(worker.process_id, signal.SIGKILL)
    with pytest.raises(InferenceError, match=r"killed by SIGKILL.*'answer'"):
        worker.answer()


def test_opening_fails_as_it_would_here(model, tmp_path):
    with pytest.raises(ModelError, match='no model at'):
        WorkerSubject(sys.executable, 'onnxruntime', tmp_path / 'none.onnx', OPTIONS)
    with pytest.raises(BackendUnavailable, match=r'cannot be imported.*\(in '):
        WorkerSubject(blocking(tmp_path, 'onnxruntime'), 'onnxruntime', model, OPTIONS)


def blocking(folder: Path, module: str) -> str:
    """Return a Python that lacks a module."""
    return script(folder / 'python', (
        f'#!{sys.executable}\n'
        'import sys\n'
        f'sys.modules[{module!r}] = None\n'
        "code, sys.argv = sys.argv[2], ['-c', *sys.argv[3:]]\n"
        'exec(code)\n'))


def test_an_error_that_nobody_foresaw_shows_its_end(model, frames, tmp_path):
    python = script(tmp_path / 'python', (
        f'#!{sys.executable}\n'
        'import sys\n'
        'sys.path.insert(0, sys.argv[3])\n'
        'from resnet_trt_node.backends.simulated import SimulatedBackend\n'
        'def fail(self, batch_size, index):\n'
        "    raise ZeroDivisionError('nobody foresaw this')\n"
        'SimulatedBackend._submit = fail\n'
        "code, sys.argv = sys.argv[2], ['-c', *sys.argv[3:]]\n"
        'exec(code)\n'))
    with WorkerSubject(python, 'simulated', model, OPTIONS) as worker:
        with pytest.raises(InferenceError, match='ZeroDivisionError: nobody foresaw this') as told:
            worker.infer(frames[:1])
        assert 'ended with exit status 1' in str(told.value)


def test_what_a_runtime_prints_does_not_disturb(model, frames, tmp_path):
    python = script(tmp_path / 'python', (
        f'#!{sys.executable}\n'
        'import os, sys\n'
        'sys.path.insert(0, sys.argv[3])\n'
        'from resnet_trt_node.backends.simulated import SimulatedBackend\n'
        'submit = SimulatedBackend._submit\n'
        'def chatter(self, batch_size, index):\n'
        "    os.write(1, b'compiling...')\n"
        "    print('done')\n"
        '    submit(self, batch_size, index)\n'
        'SimulatedBackend._submit = chatter\n'
        "code, sys.argv = sys.argv[2], ['-c', *sys.argv[3:]]\n"
        'exec(code)\n'))
    with WorkerSubject(python, 'simulated', model, OPTIONS) as worker:
        assert len(worker.infer(frames[:3]).probabilities) == 3


def test_programs_that_are_no_worker(model, tmp_path):
    with pytest.raises(UsageError, match='no program'):
        WorkerSubject(str(tmp_path / 'none'), 'onnxruntime', model, OPTIONS)
    dying = script(tmp_path / 'dying', "#!/bin/sh\necho 'no luck today' >&2\nexit 3\n")
    with pytest.raises(BackendUnavailable, match=r'status 3(.|\n)*no luck today'):
        WorkerSubject(dying, 'onnxruntime', model, OPTIONS)
    talking = script(tmp_path / 'talking', "#!/bin/sh\necho 'hello hello hello hello'\n")
    with pytest.raises(BackendUnavailable, match='no message of a worker'):
        WorkerSubject(talking, 'onnxruntime', model, OPTIONS)
    nothing = script(tmp_path / 'nothing', 'no first line')
    with pytest.raises(BackendUnavailable, match='cannot be started'):
        WorkerSubject(nothing, 'onnxruntime', model, OPTIONS)


def conversation(*requests):
    """Serve requests, headers or (header, payload), and return the replies."""
    asked, answered = BytesIO(), BytesIO()
    for request in requests:
        send(asked, *(request if isinstance(request, tuple) else (request,)))
    asked.seek(0)
    serve(asked, answered)
    size = answered.tell()
    answered.seek(0)
    replies = []
    while answered.tell() < size:
        replies.append(receive(answered))
    return replies


def test_the_protocol(model, frames):
    opening = {'do': 'open', 'name': 'onnxruntime', 'model': str(model),
               'options': options_to_json(OPTIONS)}
    replies = conversation(
        {'do': 'answer'}, {'do': 'open', **opening, 'name': 'nothing'}, opening, opening,
        {'do': 'dance'}, ({'do': 'load', 'shape': [2, 32, 32, 3]}, frames[:2].copy()),
        {'do': 'answer'}, ({'do': 'load', 'shape': [9, 9]}, frames[:2].copy()),
        {'do': 'time', 'settle': 0, 'count': 3})
    headers = [header for header, _ in replies]
    assert headers[0]['protocol'] == 1
    assert 'before a model is open' in headers[1]['message']
    assert 'unknown backend' in headers[2]['message']
    assert headers[3]['name'] == 'onnxruntime'
    assert 'open already' in headers[4]['message']
    assert (headers[5]['error'], 'dance' in headers[5]['message']) == ('UsageError', True)
    assert headers[6] == {}
    assert to_array(headers[7], replies[7][1], np.float32).shape == (2, 8)
    assert headers[8]['error'] == 'WireError'
    assert len(np.frombuffer(replies[9][1], np.int64)) == headers[9]['count'] == 3


@pytest.mark.parametrize(('data', 'error'), [
    (b'', EOFError), (b'RTC1', EOFError), (b'x' * 16, WireError),
    (struct.pack('<4sIQ', b'RTC1', 4, 0) + b'abcd', WireError),
    (struct.pack('<4sIQ', b'RTC1', 2, 0) + b'[]', WireError),
    (struct.pack('<4sIQ', b'RTC1', 2, 9) + b'{}short', EOFError),
    (struct.pack('<4sIQ', b'RTC1', 1 << 31, 0), WireError),
    (struct.pack('<4sIQ', b'RTC1', 2, 1 << 60), WireError)])
def test_what_is_no_message_is_refused(data, error):
    with pytest.raises(error):
        receive(BytesIO(data))


def test_options_travel():
    options = {
        'max_batch_size': 8, 'opt_batch_sizes': (1, 8), 'engine_dir': Path('/some/where'),
        'tf32': True, 'log': print}
    back = options_from_json(options_to_json(options), log=print)
    assert back == options


def test_choices():
    choices = parse_choices('tensorrt, tensorrt@/opt/py39/bin/python,onnxruntime@py')
    assert choices == (
        Choice('tensorrt'), Choice('tensorrt', '/opt/py39/bin/python'),
        Choice('onnxruntime', 'py'))
    assert labels_of(choices) == ['tensorrt', 'tensorrt@python', 'onnxruntime']
    same_end = parse_choices('tensorrt@/a/python,tensorrt@/b/python')
    assert labels_of(same_end) == ['tensorrt@/a/python', 'tensorrt@/b/python']


def test_options_are_for_the_backends_that_use_them(model):
    choices = parse_choices('onnxruntime,polygraphy:trt,simulated')
    check_used(choices, {
        'max_batch_size': 8, 'cpu_threads': 2, 'tf32': True, 'simulated_ms': 0,
        'precision': 'fp16'})
    with pytest.raises(UsageError) as refusal:
        check_used(choices, {'dla_core': 1})
    assert str(refusal.value) == (
        'dla_core is 1, which onnxruntime or polygraphy:trt or simulated does not use: leave it '
        'out, or choose a backend that does (tensorrt, tensorrt_rtx)')
    with open_here('onnxruntime', model, {'cpu_threads': 1, 'tf32': True}) as subject:
        assert subject.info.details['cpu_threads'] == '1'


@pytest.mark.parametrize(('text', 'words'), [
    ('', 'unknown backend'), ('auto', 'unknown backend'), ('onnxruntime,', 'unknown backend'),
    ('onnxruntime@', 'names no Python'), ('onnxruntime,onnxruntime', 'named twice')])
def test_choices_that_are_none(text, words):
    with pytest.raises(UsageError, match=words):
        parse_choices(text)
