"""
What every backend promises, asked of each that this machine can open.

A backend joins by its entry in `inference.factory.BACKENDS`. The file runs on Python 3.9 with
pytest, NumPy and onnx alone, so that it can be taken to a GPU machine.
"""

import gc
import json
import os
import subprocess
import sys
from threading import Thread
import time

import numpy as np
import onnx
from onnx import numpy_helper
import pytest

from resnet_trt_node.errors import BackendUnavailable, InferenceError, ModelError, UsageError
from resnet_trt_node.inference.backend import Backend, BackendOptions, warm_up
from resnet_trt_node.inference.factory import BACKENDS, open_backend
from tiny_model import COLOURS, write_tiny_model

MAX_BATCH = 4
SIDE = 32
NAMES = list(COLOURS)
#: The simulated backend computes no graph, so no graph can make it fail.
GRAPH_BACKENDS = [name for name in BACKENDS if name != 'simulated']


@pytest.fixture(scope='session')
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp('contract') / 'tiny.onnx', size=SIDE)


@pytest.fixture(scope='session')
def engine_dir(tmp_path_factory):
    """Return one folder of engines for all tests: engines take long to build."""
    return tmp_path_factory.mktemp('engines')


@pytest.fixture(params=BACKENDS)
def name(request):
    return request.param


@pytest.fixture
def opener(name, model, engine_dir):
    """Return a function that opens the backend under test; what is left open is closed."""
    opened = []

    def open_it(path=model, **options):
        backend = open_backend(path, name, BackendOptions(**{
            'max_batch_size': MAX_BATCH, 'num_buffers': 2, 'cpu_threads': 2,
            'engine_dir': engine_dir, 'simulated_ms': 0.0, **options}))
        opened.append(backend)
        return backend
    try:
        open_it().close()
    except BackendUnavailable as error:
        pytest.skip(f'{name} cannot run here: {error}')
    yield open_it
    for backend in opened:
        backend.close()


@pytest.fixture
def backend(opener):
    return opener()


def frame_of(name, label):
    """Return a uint8 (H, W, 3) frame that the tiny model names so on that backend."""
    if name == 'simulated':
        return np.full((SIDE, SIDE, 3), NAMES.index(label), np.uint8)
    return np.full((SIDE, SIDE, 3), COLOURS[label], np.uint8)


def labels_of(probabilities):
    return [NAMES[index] for index in probabilities.argmax(axis=1)]


def fill(backend, labels, index=0):
    for slot, label in zip(backend.buffer(index), labels):
        slot[:] = frame_of(backend.info.name, label)


def held():
    """Return the process's threads and open files, native ones included."""
    gc.collect()
    return len(os.listdir('/proc/self/task')), len(os.listdir('/proc/self/fd'))


def assert_nothing_more_is_held(before, deadline_s=10.0):
    """Compare with an earlier `held`; threads that are about to end get the time to."""
    end = time.monotonic() + deadline_s
    while any(now > then for now, then in zip(held(), before)) and time.monotonic() < end:
        time.sleep(0.01)
    threads, files = held()
    assert threads <= before[0]
    assert files <= before[1]


# Opening

def test_importing_the_module_touches_no_device(name):
    # Also where the runtime is not installed: `auto` wants the reason, not an ImportError.
    script = (
        'import importlib, json, os, sys\n'
        f'importlib.import_module({BACKENDS[name][0]!r})\n'
        'links = [os.path.join("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd")]\n'
        'files = [os.readlink(link) for link in links if os.path.lexists(link)]\n'
        'print(json.dumps({"devices": [file for file in files if "nvidia" in file],\n'
        '    "loaded": sorted({"onnxruntime", "tensorrt", "tensorrt_rtx", "tvm", "torch",\n'
        '        "pycuda.autoinit", "pycuda.autoprimaryctx"} & set(sys.modules))}))\n')
    done = subprocess.run(
        [sys.executable, '-c', script], check=True, stdout=subprocess.PIPE, text=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(path for path in sys.path if path)})
    assert json.loads(done.stdout) == {'devices': [], 'loaded': []}


def test_an_open_backend_tells_what_it_is(backend, name):
    assert backend.info.name == name
    assert backend.info.version
    assert backend.info.device
    assert all(isinstance(text, str) for text in backend.info.details.values())
    assert backend.spec.labels == tuple(NAMES)
    assert (backend.spec.height, backend.spec.width) == (SIDE, SIDE)
    assert backend.max_batch_size == MAX_BATCH
    assert backend.num_buffers == 2
    assert not backend.closed


def test_a_missing_and_a_foreign_model_are_refused(opener, tmp_path, model):
    with pytest.raises(ModelError, match='no model at '):
        opener(tmp_path / 'nowhere.onnx')
    foreign = onnx.load(str(model))
    del foreign.metadata_props[:]
    onnx.save(foreign, str(tmp_path / 'foreign.onnx'))
    with pytest.raises(ModelError, match='not a deployable model'):
        opener(tmp_path / 'foreign.onnx')


@pytest.mark.parametrize('name', GRAPH_BACKENDS)
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


# Buffers

@pytest.mark.parametrize(('batch', 'buffers'), [(1, 1), (MAX_BATCH, 3)])
def test_buffers_are_owned_by_the_backend_and_apart(opener, batch, buffers):
    backend = opener(max_batch_size=batch, num_buffers=buffers)
    assert (backend.max_batch_size, backend.num_buffers) == (batch, buffers)
    for index in range(buffers):
        buffer = backend.buffer(index)
        assert buffer.dtype == np.uint8
        assert buffer.shape == (batch, SIDE, SIDE, 3)
        assert buffer.flags.c_contiguous
        assert buffer.flags.writeable
        assert np.shares_memory(buffer, backend.buffer(index))
        for other in range(index):
            assert not np.shares_memory(buffer, backend.buffer(other))


def test_inferring_does_not_change_the_frames(backend):
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 256, backend.buffer().shape, np.uint8)
    backend.buffer()[:] = frames
    backend.infer(MAX_BATCH)
    np.testing.assert_array_equal(backend.buffer(), frames)


# Results

@pytest.mark.parametrize('label', NAMES)
def test_a_known_frame_gets_its_known_class(backend, label):
    fill(backend, [label])
    assert labels_of(backend.infer(1)) == [label]


@pytest.mark.parametrize('size', range(1, MAX_BATCH + 1))
def test_every_batch_size_is_legal_and_keeps_the_order(backend, size):
    for start in range(len(NAMES)):
        labels = [NAMES[(start + 3 * place) % len(NAMES)] for place in range(size)]
        fill(backend, labels)
        probabilities = backend.infer(size)
        assert probabilities.shape == (size, len(NAMES))
        assert probabilities.dtype == np.float32
        assert labels_of(probabilities) == labels
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)


def test_batch_sizes_may_follow_in_any_order(backend):
    for size in (4, 1, 3, 2, 4, 2, 1, 1, 4):
        labels = NAMES[1:1 + size]
        fill(backend, labels)
        assert labels_of(backend.infer(size)) == labels


@pytest.mark.parametrize('size', range(1, MAX_BATCH))
def test_slots_beyond_the_batch_do_not_matter(backend, size):
    fill(backend, NAMES[:size])
    results = []
    for stale in (0, 255, 77):
        backend.buffer()[size:] = stale
        results.append(backend.infer(size).copy())
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_a_frame_gets_the_same_answer_in_any_company(backend):
    generator = np.random.default_rng(1)
    frame = generator.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    backend.buffer()[0] = frame
    alone = backend.infer(1)[0].copy()
    for size in range(2, MAX_BATCH + 1):
        for slot in range(size):
            backend.buffer()[:] = generator.integers(0, 256, backend.buffer().shape, np.uint8)
            backend.buffer()[slot] = frame
            np.testing.assert_allclose(backend.infer(size)[slot], alone, atol=2e-3)


@pytest.mark.parametrize('name', GRAPH_BACKENDS)
def test_probabilities_are_those_of_the_formula(backend):
    generator = np.random.default_rng(2)
    # Noise around many colours: the mean alone of pure noise would always be grey.
    frames = generator.integers(0, 256, (16, 1, 1, 3)) + generator.integers(
        -40, 41, (16, SIDE, SIDE, 3))
    frames = np.clip(frames, 0, 255).astype(np.uint8)
    corners = np.array(list(COLOURS.values()), np.float64) / 255
    for start in range(0, len(frames), MAX_BATCH):
        backend.buffer()[:] = frames[start:start + MAX_BATCH]
        mean = frames[start:start + MAX_BATCH].mean(axis=(1, 2)) / 255
        scores = np.exp(-6.0 * ((mean[:, None] - corners) ** 2).sum(axis=2))
        # The tolerance is that of TensorFloat-32, which keeps ten bits of the mantissa.
        np.testing.assert_allclose(
            backend.infer(MAX_BATCH), scores / scores.sum(axis=1, keepdims=True), atol=5e-3)


@pytest.mark.parametrize('name', GRAPH_BACKENDS)
def test_nan_is_refused_and_the_buffer_is_free_again(opener, tmp_path, model):
    overflowing = onnx.load(str(model))
    bias = next(one for one in overflowing.graph.initializer if one.name == 'bias')
    # Softmax of an infinity is infinity over infinity.
    bias.CopyFrom(numpy_helper.from_array(np.array([np.inf] + 7 * [0], np.float32), 'bias'))
    path = tmp_path / 'nan.onnx'
    onnx.save(overflowing, str(path))
    backend = opener(path)
    for _ in range(2):
        with pytest.raises(InferenceError, match='the model returned NaN or infinity'):
            backend.infer(1)


# Two buffers

def test_two_buffers_may_be_in_flight(backend):
    fill(backend, NAMES[:4], 0)
    fill(backend, NAMES[4:], 1)
    backend.submit(4, 0)
    backend.submit(3, 1)
    assert labels_of(backend.collect(0)) == NAMES[:4]
    assert labels_of(backend.collect(1)) == NAMES[4:7]
    backend.submit(2, 1)
    backend.submit(1, 0)
    assert labels_of(backend.collect(1)) == NAMES[4:6]
    assert labels_of(backend.collect(0)) == NAMES[:1]


def test_a_result_survives_the_submission_of_the_other_buffer(backend):
    fill(backend, NAMES[:4], 0)
    first = backend.infer(4, 0)
    copy = first.copy()
    for labels in (NAMES[4:], NAMES[1:5]):
        fill(backend, labels, 1)
        assert labels_of(backend.infer(4, 1)) == labels
        np.testing.assert_array_equal(first, copy)


def test_the_other_buffer_may_be_filled_meanwhile(backend):
    fill(backend, NAMES[:4], 0)
    for start in range(1, 20):
        here, there = (start - 1) % 2, start % 2
        labels = [NAMES[(start + place) % len(NAMES)] for place in range(4)]
        before = [NAMES[(start - 1 + place) % len(NAMES)] for place in range(4)]
        backend.submit(4, here)
        fill(backend, labels, there)
        assert labels_of(backend.collect(here)) == before


# Misuse

def test_misuse_is_refused_and_does_no_harm(backend):
    fill(backend, NAMES[:4])
    for call, message in (
            (lambda: backend.submit(0), 'batch of 0: this backend was opened for 1 to 4'),
            (lambda: backend.submit(5), 'batch of 5: this backend was opened for 1 to 4'),
            (lambda: backend.submit(1, 2), 'buffer 2: this backend has 0 to 1'),
            (lambda: backend.submit(1, -1), 'buffer -1: this backend has 0 to 1'),
            (lambda: backend.buffer(2), 'buffer 2: this backend has 0 to 1'),
            (lambda: backend.collect(2), 'buffer 2: this backend has 0 to 1'),
            (lambda: backend.collect(), 'buffer 0 was not submitted: call submit first')):
        with pytest.raises(UsageError) as refusal:
            call()
        assert str(refusal.value) == message
    backend.submit(2)
    with pytest.raises(UsageError, match='buffer 0 is being inferred: collect it before'):
        backend.submit(2)
    assert labels_of(backend.collect()) == NAMES[:2]
    with pytest.raises(UsageError, match='buffer 0 was not submitted'):
        backend.collect()
    assert labels_of(backend.infer(4)) == NAMES[:4]


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
        with pytest.raises(UsageError, match='the backend is closed: open it again'):
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


def test_warming_up_tries_every_batch_size(backend):
    took_ms = warm_up(backend)
    assert list(took_ms) == [1, 2, 3, 4]
    assert min(took_ms.values()) > 0
    fill(backend, NAMES[:3])
    assert labels_of(backend.infer(3)) == NAMES[:3]


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
