"""Named predictions of one frame, and pictures classified in full batches."""

from __future__ import annotations

import numpy as np
import pytest

from resnet_trt_node.backends.classifier import Classifier
from resnet_trt_node.backends.simulated import SimulatedBackend, SimulatedOptions
from resnet_trt_node.contract.prediction import Prediction, top_predictions
from resnet_trt_node.errors import AnswerError, FrameError, UsageError
from resnet_trt_node.imaging.frame import Frame

LABELS = [f'class {index}' for index in range(100)]


def answers(scores, *arguments):
    """Return the indices of the top predictions."""
    probabilities = np.array(scores, np.float32)
    return [one.index for one in top_predictions(probabilities, LABELS, *arguments)]


def red(level):
    """Return a frame of one colour, as which the simulated backend classifies it."""
    return Frame(np.full((4, 5, 3), (level, 0, 0), np.uint8), 'rgb')


def test_scores_fall_and_more_than_all_are_all():
    assert answers([0.1, 0.6, 0.3], 2) == [1, 2]
    assert answers([0.1, 0.6, 0.3], 99) == [1, 2, 0]
    assert top_predictions(np.array([0.25, 0.75], np.float32), LABELS, 1) == [
        Prediction(1, 'class 1', 0.75)]


def test_of_equal_scores_the_lower_index_stands_first():
    scores = np.full(100, 0.005, np.float32)
    scores[70:80] = 0.05
    assert answers(scores, 20) == [*range(70, 80), *range(10)]


def test_a_score_at_the_threshold_stays():
    assert answers([0.5, 0.25, 0.25], 3, 0.25) == [0, 1, 2]
    assert answers([0.5, 0.25, 0.25], 3, 0.2501) == [0]
    assert answers([0.5, 0.5], 2, 1.0) == []


def test_a_score_is_at_most_one():
    above = np.nextafter(np.float32(1), np.float32(2))
    assert top_predictions(np.array([0, above], np.float32), LABELS, 1)[0].score == 1.0


@pytest.mark.parametrize('top_k', [0, -1])
def test_no_classes_at_all_are_refused(top_k):
    with pytest.raises(UsageError, match=f'top_k is {top_k}'):
        top_predictions(np.array([1], np.float32), LABELS, top_k)


@pytest.fixture
def backend():
    """Return a backend that takes two frames at a time and no time."""
    with SimulatedBackend('', SimulatedOptions(max_batch_size=2, simulated_ms=0)) as opened:
        yield opened


def test_batches_are_full_but_the_last_and_rows_outlive_them(backend):
    sizes, submit, collect = [], backend.submit, backend.collect

    def counted(batch_size):
        sizes.append(batch_size)
        submit(batch_size)

    def shared():
        # As backends do whose result is a buffer of their own.
        rows = collect()
        memory[:len(rows)] = rows
        return memory[:len(rows)]

    memory = np.zeros((2, 256), np.float32)
    backend.submit, backend.collect = counted, shared
    found = list(Classifier(backend).probabilities([3, 1, 4, 1, 5], red))
    assert sizes == [2, 2, 1]
    assert [(item, int(row.argmax())) for item, row in found] == [
        (3, 3), (1, 1), (4, 4), (1, 1), (5, 5)]


def test_items_are_read_a_batch_at_a_time(backend):
    items = iter([1, 2, 3, 4, 5])
    results = Classifier(backend, top_k=1).classify(items, red)
    assert next(results)[1][0].label == 'red_001'
    assert list(items) == [3, 4, 5]


def test_a_bad_frame_is_left_out_or_stops_everything(backend):
    def broken(level):
        if level < 0:
            raise FrameError('no picture')
        return red(level)

    bad = []
    found = Classifier(backend).classify(
        [-1, 7, -2, 8, 9, -3], broken, lambda item, error: bad.append((item, str(error))))
    assert [(item, predictions[0].index) for item, predictions in found] == [
        (7, 7), (8, 8), (9, 9)]
    assert bad == [(-1, 'no picture'), (-2, 'no picture'), (-3, 'no picture')]
    with pytest.raises(FrameError, match='no picture'):
        list(Classifier(backend).classify([7, -1], broken))


@pytest.mark.parametrize('value', [np.nan, np.inf, -0.5, 0.25, 2])
def test_a_bad_answer_costs_its_own_item(backend, value):
    collect = backend.collect

    def spoiled():
        rows = collect().copy()
        # Nothing red was in the picture.
        rows[rows.argmax(axis=1) == 0] = value
        return rows

    backend.collect = spoiled
    bad = []
    found = list(Classifier(backend, top_k=1).classify(
        [3, 0, 0, 4, 5], red, lambda item, error: bad.append((item, error)), 'number {}'.format))
    assert [(item, predictions[0].index) for item, predictions in found] == [
        (3, 3), (4, 4), (5, 5)]
    assert [item for item, _ in bad] == [0, 0]
    for _, error in bad:
        assert isinstance(error, AnswerError)
        assert str(error).startswith('number 0: the ')
    with pytest.raises(AnswerError, match=r'^0: the '):
        list(Classifier(backend).probabilities([3, 0], red))
    with pytest.raises(AnswerError, match=r'^the '):
        list(Classifier(backend).probabilities([3, 0], red, name_of=lambda item: ''))
