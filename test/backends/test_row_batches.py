"""Rows of batches: each gets its own answer, whatever fails beside it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from models.tiny_model import write_blind_model
import numpy as np
import pytest
from resnet_trt_node.backends.factory import open_backend
from resnet_trt_node.backends.row_batches import RowBatches
from resnet_trt_node.backends.simulated import SimulatedBackend, SimulatedOptions
from resnet_trt_node.errors import AnswerError, FrameError, InferenceError


@pytest.fixture
def backend():
    """Return a backend with one buffer of three rows that answers their red value."""
    with SimulatedBackend('', SimulatedOptions(
            max_batch_size=3, num_buffers=1, simulated_ms=0.0)) as opened:
        yield opened


def write(value, row):
    """Fill a row with one red value."""
    row[:] = (value, 0, 0)


def refuse(row):
    """Spoil a row and fail."""
    row[:] = 255
    raise FrameError('broken')


def classes(answers):
    """Return items with the classes of their answers."""
    return [(item, int(row.argmax())) for item, row in answers]


def test_a_full_batch_is_inferred_at_once(backend):
    batches = RowBatches(backend)
    assert batches.put('a', partial(write, 10)) == []
    assert batches.put('b', partial(write, 20)) == []
    assert classes(batches.put('c', partial(write, 30))) == [('a', 10), ('b', 20), ('c', 30)]
    assert batches.put('d', partial(write, 40)) == []
    assert classes(batches.infer()) == [('d', 40)]
    assert batches.infer() == []


def test_with_two_buffers_the_answers_come_a_batch_later():
    with SimulatedBackend('', SimulatedOptions(
            max_batch_size=2, num_buffers=2, simulated_ms=0.0)) as backend:
        batches = RowBatches(backend)
        assert batches.capacity == 4
        found = [classes(batches.put(number, partial(write, number))) for number in range(7)]
        assert found == [[], [], [], [(0, 0), (1, 1)], [], [(2, 2), (3, 3)], []]
        assert classes(batches.infer()) == [(4, 4), (5, 5), (6, 6)]
        assert batches.infer() == []
        assert classes(batches.put(8, partial(write, 8)) + batches.infer()) == [(8, 8)]


def test_a_backend_that_fails_costs_its_own_batch(backend):
    batches, submit, collect = RowBatches(backend), backend.submit, backend.collect

    def fail(*_):
        raise InferenceError('the runtime failed')
    batches.put('a', partial(write, 10))
    backend.submit = fail
    with pytest.raises(InferenceError):
        batches.infer()
    backend.submit = submit
    assert classes(batches.infer()) == [('a', 10)]
    batches.put('b', partial(write, 20))
    backend.collect = lambda index: (collect(index), fail())
    with pytest.raises(InferenceError):
        batches.infer()
    backend.collect = collect
    batches.put('c', partial(write, 30))
    assert classes(batches.infer()) == [('c', 30)]


def test_a_row_that_cannot_be_written_is_not_added(backend):
    batches = RowBatches(backend)
    batches.put('a', partial(write, 10))
    with pytest.raises(FrameError, match='broken'):
        batches.put('bad', refuse)
    batches.put('b', partial(write, 20))
    assert classes(batches.infer()) == [('a', 10), ('b', 20)]


def test_answers_outlive_the_next_batch(backend):
    batches = RowBatches(backend)
    batches.put('a', partial(write, 10))
    first = batches.infer()
    for number in range(6):
        batches.put(number, partial(write, 200))
    assert classes(first) == [('a', 10)]


def test_a_bad_row_is_told_in_words_and_its_neighbours_are_right(tmp_path: Path):
    path = write_blind_model(tmp_path / 'blind.onnx')
    with open_backend(path, 'onnxruntime', max_batch_size=3, num_buffers=1) as backend:
        batches: RowBatches[str] = RowBatches(backend)
        batches.put('red', lambda row: np.copyto(row, (255, 0, 0), casting='unsafe'))
        batches.put('white', lambda row: np.copyto(row, 255))
        red, white, blue = batches.put(
            'blue', lambda row: np.copyto(row, (0, 0, 255), casting='unsafe'))
    assert classes([red, blue]) == [('red', 1), ('blue', 4)]
    assert white[0] == 'white'
    assert isinstance(white[1], AnswerError)
    assert 'NaN' in str(white[1])
