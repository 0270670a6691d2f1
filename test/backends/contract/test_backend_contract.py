"""
What every backend promises of buffers and results, asked of each that this machine can open.

A backend joins by its entry in `inference.factory.BACKENDS`. The file runs on Python 3.9 with
pytest, NumPy and onnx alone, so that it can be taken to a GPU machine.
"""

from models.open_backends import fill, GRAPH_PARAMS, labels_of, MAX_BATCH, NAMES, SIDE
from models.tiny_model import COLOURS, write_blind_model
import numpy as np
import onnx
from onnx import helper
import pytest
from resnet_trt_node.backends.base import warm_up, WARM_UP_CALLS
from resnet_trt_node.backends.result_check import bad_rows
from resnet_trt_node.errors import InferenceError, ModelError, UsageError


def test_an_open_backend_describes_itself(backend, name):
    assert backend.info.name == name
    assert backend.info.version
    assert backend.info.device
    assert all(isinstance(text, str) for text in backend.info.details.values())
    assert backend.spec.labels == tuple(NAMES)
    assert (backend.spec.height, backend.spec.width) == (SIDE, SIDE)
    assert backend.max_batch_size == MAX_BATCH
    assert backend.num_buffers == 2
    assert not backend.closed


def test_warming_up_leaves_every_size_and_buffer_ready(backend):
    took_ms = warm_up(backend)
    assert list(took_ms) == sorted(took_ms)
    assert {1, 2, MAX_BATCH} <= set(took_ms) <= {1, 2, 3, 4}
    assert min(took_ms.values()) > 0
    for index in range(2):
        for size in range(1, MAX_BATCH + 1):
            fill(backend, NAMES[:size], index)
            assert labels_of(backend.infer(size, index)) == NAMES[:size]


@pytest.mark.parametrize('batch', [1, 3, 16])
def test_warming_up_is_linear_in_the_largest_batch(opener, batch):
    backend = opener(max_batch_size=batch, num_buffers=3)
    submitted, submit = [], backend._submit

    def count(batch_size, index):
        submitted.append((index, batch_size))
        submit(batch_size, index)
    backend._submit = count
    took_ms = warm_up(backend)
    assert {size for _, size in submitted} == set(took_ms)
    assert max(took_ms) == batch
    # The largest allocates for all.
    assert submitted[0] == (0, batch)
    each = len(submitted) / len(set(submitted))
    assert each == WARM_UP_CALLS
    if not backend.asynchronous:
        assert {index for index, _ in submitted} == {0}
        assert sum(size for _, size in submitted) < WARM_UP_CALLS * 3 * batch + 1


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


@pytest.mark.parametrize('name', GRAPH_PARAMS)
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


@pytest.mark.parametrize('name', GRAPH_PARAMS)
def test_nan_for_one_frame_leaves_its_neighbours_their_answers(opener, tmp_path):
    backend = opener(write_blind_model(tmp_path / 'blind.onnx', size=SIDE))
    labels = ['red', 'white', 'black', 'blue']
    fill(backend, labels)
    for _ in range(2):
        backend.submit(4)
        found = backend.collect()
        assert list(bad_rows(found)) == [1]
        assert labels_of(found[[0, 2, 3]]) == ['red', 'black', 'blue']
        # Who needs an answer for each hears which has none, and the buffer is free again.
        with pytest.raises(InferenceError, match=r'frame 1 .*NaN'):
            backend.infer(4)


@pytest.mark.parametrize('name', GRAPH_PARAMS)
def test_one_row_for_any_batch_is_refused(opener, tmp_path, model):
    single = onnx.load(str(model))
    single.graph.node[-1].output[0] = 'each'
    single.graph.node.append(helper.make_node(
        'ReduceMean', ['each'], ['probabilities'], axes=[0], keepdims=1))
    path = tmp_path / 'single.onnx'
    onnx.save(single, str(path))
    opened = []

    def infer():
        opened.append(opened[0] if opened else opener(path))
        opened[0].infer(2)
    for _ in range(2):
        # Some runtimes know from the graph what comes out, the others once it has come.
        with pytest.raises((InferenceError, ModelError), match=r'\(1, 8\)'):
            infer()


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
    for call, keyword in (
            (lambda: backend.submit(0), 'batch of 0'), (lambda: backend.submit(5), 'batch of 5'),
            (lambda: backend.submit(1, 2), 'buffer 2'),
            (lambda: backend.submit(1, -1), 'buffer -1'),
            (lambda: backend.buffer(2), 'buffer 2'), (lambda: backend.collect(2), 'buffer 2'),
            (lambda: backend.collect(), 'not submitted')):
        with pytest.raises(UsageError, match=keyword):
            call()
    backend.submit(2)
    with pytest.raises(UsageError, match='being inferred'):
        backend.submit(2)
    assert labels_of(backend.collect()) == NAMES[:2]
    with pytest.raises(UsageError, match='not submitted'):
        backend.collect()
    assert labels_of(backend.infer(4)) == NAMES[:4]
