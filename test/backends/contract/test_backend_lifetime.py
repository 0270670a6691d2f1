"""
What every backend promises about its life: opening, failing to, closing, threads, leaks.

As `test_backend_contract` the file runs on Python 3.9 with pytest, NumPy and onnx alone.
"""

import gc
import json
import os
import subprocess
import sys
from threading import Thread
import time

from models.open_backends import fill, GRAPH_PARAMS, labels_of, NAMES, SIDE
from models.tiny_model import write_tiny_model
import onnx
import pytest
from resnet_trt_node.backends.base import Backend
from resnet_trt_node.contract import model_file
from resnet_trt_node.errors import ModelError, UsageError


def held():
    """Return the process's threads and open files, native ones included."""
    gc.collect()
    return len(os.listdir('/proc/self/task')), len(os.listdir('/proc/self/fd'))


def assert_nothing_more_is_held(before, deadline_s=60.0):
    """Compare with an earlier `held`; threads that are about to end get the time to."""
    end = time.monotonic() + deadline_s
    while any(now > then for now, then in zip(held(), before)) and time.monotonic() < end:
        time.sleep(0.01)
    threads, files = held()
    assert threads <= before[0]
    assert files <= before[1]


# Opening

@pytest.mark.slow
def test_importing_the_module_touches_no_device(name):
    # Also where the runtime is not installed: `auto` wants the reason, not an ImportError.
    script = (
        'import json, os, sys\n'
        'from resnet_trt_node.backends.factory import options_of\n'
        f'options_of({name!r})\n'
        'links = [os.path.join("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd")]\n'
        'files = [os.readlink(link) for link in links if os.path.lexists(link)]\n'
        'print(json.dumps({"devices": [file for file in files if "nvidia" in file],\n'
        '    "loaded": sorted({"onnxruntime", "tensorrt", "tensorrt_rtx", "tensorrt_lean",\n'
        '        "tvm", "torch", "pycuda.autoinit",\n'
        '        "pycuda.autoprimaryctx"} & set(sys.modules))}))\n')
    done = subprocess.run(
        [sys.executable, '-c', script], check=True, stdout=subprocess.PIPE, text=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(path for path in sys.path if path)})
    assert json.loads(done.stdout) == {'devices': [], 'loaded': []}


def test_a_missing_and_a_foreign_model_are_refused(opener, tmp_path, model):
    with pytest.raises(ModelError, match='no model at'):
        opener(tmp_path / 'nowhere.onnx')
    foreign = onnx.load(str(model))
    del foreign.metadata_props[:]
    onnx.save(foreign, str(tmp_path / 'foreign.onnx'))
    with pytest.raises(ModelError, match='not a deployable model'):
        opener(tmp_path / 'foreign.onnx')


def test_what_is_no_file_of_its_own_is_refused_at_once(opener, tmp_path, model):
    os.mkfifo(tmp_path / 'pipe.onnx')
    with pytest.raises(ModelError, match='named pipe'):
        opener(tmp_path / 'pipe.onnx')
    with pytest.raises(ModelError, match='device'):
        opener('/dev/zero')
    with pytest.raises(ModelError, match=r'folder.*\.onnx'):
        opener(tmp_path)
    outside = onnx.load(str(model))
    tensor = outside.graph.initializer[0]
    (tmp_path / 'weights.data').write_bytes(tensor.raw_data)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key='location', value='weights.data')
    tensor.raw_data = b''
    (tmp_path / 'outside.onnx').write_bytes(outside.SerializeToString())
    for _ in range(2):
        with pytest.raises(ModelError, match=r'weights\.data.*prepare'):
            opener(tmp_path / 'outside.onnx')


def test_a_model_is_read_once_or_its_change_is_reported(opener, tmp_path, model, monkeypatch):
    """The contract and the graph must not be those of two files."""
    path = tmp_path / 'model.onnx'
    path.write_bytes(model.read_bytes())
    other = write_tiny_model(tmp_path / 'other.onnx', NAMES[::-1], size=SIDE)
    true_read = model_file.read_regular

    def read_and_replace(name, *limits):
        data = true_read(name, *limits)
        if other.exists():
            os.replace(other, path)
        return data
    monkeypatch.setattr(model_file, 'read_regular', read_and_replace)
    backend, refusal = None, ''
    try:
        backend = opener(path)
    except ModelError as error:
        refusal = str(error)
    assert not other.exists()
    if backend is None:
        assert 'changed' in refusal
        return
    assert backend.spec.labels == tuple(NAMES)
    fill(backend, NAMES[:2])
    assert labels_of(backend.infer(2)) == NAMES[:2]


@pytest.mark.parametrize('name', GRAPH_PARAMS)
def test_a_graph_that_cannot_run_is_refused_and_leaves_nothing(opener, tmp_path, model):
    broken = onnx.load(str(model))
    broken.graph.node[1].op_type = 'NoSuchOperator'
    path = tmp_path / 'broken.onnx'
    onnx.save(broken, str(path))

    def fail():
        with pytest.raises(ModelError) as refusal:
            opener(path)
        assert 'NoSuchOperator' in str(refusal.value)
    fail()
    before = held()
    for _ in range(10):
        fail()
    assert_nothing_more_is_held(before)
    with opener() as backend:
        fill(backend, ['red'])
        assert labels_of(backend.infer(1)) == ['red']


def test_failing_midway_leaves_nothing(opener, monkeypatch):
    """The last step of opening fails: everything before it has to be given back."""
    before = held()

    def fail(self, *arguments):
        raise MemoryError('as if there were none left')
    with monkeypatch.context() as patch:
        patch.setattr(Backend, '__init__', fail)
        for _ in range(10):
            with pytest.raises(MemoryError):
                opener()
    assert_nothing_more_is_held(before)
    assert not opener().closed


# Closing

def test_a_closed_backend_refuses_everything(opener):
    with opener() as backend:
        fill(backend, ['red'])
        backend.infer(1)
    assert backend.closed
    backend.close()
    backend.close()
    assert (backend.max_batch_size, backend.num_buffers) == (0, 0)
    for call in (
            lambda: backend.buffer(), lambda: backend.submit(1), lambda: backend.collect(),
            lambda: backend.infer(1)):
        with pytest.raises(UsageError, match='closed'):
            call()


def test_an_error_inside_the_context_closes_and_passes_through(opener):
    with pytest.raises(KeyError), opener() as backend:
        raise KeyError
    assert backend.closed


def test_closing_with_a_batch_in_flight(opener):
    backend = opener()
    fill(backend, NAMES[:4])
    backend.submit(4)
    backend.close()
    assert backend.closed


# Several backends, threads and lives

def test_two_backends_are_open_at_once(opener):
    one, other = opener(), opener(num_buffers=1)
    for start in range(4):
        mine, others = NAMES[start:start + 4], NAMES[::-1][start:start + 4]
        fill(one, mine)
        fill(other, others)
        one.submit(4)
        other.submit(4)
        assert labels_of(other.collect()) == others
        assert labels_of(one.collect()) == mine
    one.close()
    assert labels_of(other.infer(4)) == NAMES[::-1][3:7]


def test_a_whole_life_in_another_thread(opener):
    seen = []

    def live():
        with opener() as backend:
            fill(backend, NAMES[2:6])
            seen.extend(labels_of(backend.infer(4)))
    for _ in range(2):
        thread = Thread(target=live)
        thread.start()
        thread.join(120)
        assert not thread.is_alive()
    assert seen == 2 * NAMES[2:6]


def test_another_thread_may_fill_the_buffers(backend):
    for start in range(4):
        filler = Thread(target=fill, args=(backend, NAMES[start:start + 4]))
        filler.start()
        filler.join(60)
        assert labels_of(backend.infer(4)) == NAMES[start:start + 4]


def test_fifty_lives_leave_no_threads_and_no_files(opener):
    def live():
        with opener() as backend:
            fill(backend, NAMES[:2])
            assert labels_of(backend.infer(2)) == NAMES[:2]
    # The first ones may start what lasts as long as the process.
    live()
    live()
    before = held()
    for _ in range(50):
        live()
    assert_nothing_more_is_held(before)
