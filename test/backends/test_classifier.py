"""Named predictions of one frame, and pictures classified in full batches."""

from __future__ import annotations

import numpy as np
import pytest

from resnet_trt_node.backends.classifier import Classifier
from resnet_trt_node.backends.simulated import SimulatedBackend, SimulatedOptions
from resnet_trt_node.contract.prediction import (
    Prediction, sureness, top_predictions, UNKNOWN_INDEX, UnknownRule)
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


def test_a_best_score_below_the_limit_is_unknown():
    rule = UnknownRule(0.7, 'none of these')
    unsure, sure = np.array([0.1, 0.6, 0.3], np.float32), np.array([0.7, 0.3], np.float32)
    assert top_predictions(unsure, LABELS, 3, 0.0, rule) == [
        Prediction(UNKNOWN_INDEX, 'none of these', float(np.float32(0.6)))]
    # A score at the limit is known, also one that float32 rounds to below 0.7.
    assert [one.index for one in top_predictions(sure, LABELS, 3, 0.0, rule)] == [0, 1]
    # The threshold, which leaves classes out, does not leave out that it is none.
    assert [one.label for one in top_predictions(unsure, LABELS, 3, 0.65, rule)] == [
        'none of these']


def test_a_limit_of_0_or_no_rule_knows_everything():
    scores = np.array([0, 0], np.float32)
    for rule in (None, UnknownRule(0.0, 'unknown')):
        assert [one.index for one in top_predictions(scores, LABELS, 1, 0.0, rule)] == [0]


def test_a_limit_of_1_knows_only_what_is_certain():
    above = np.nextafter(np.float32(1), np.float32(2))
    rule = UnknownRule(1.0, 'unknown')
    for best, index in ((np.nextafter(np.float32(1), np.float32(0)), UNKNOWN_INDEX), (1, 0),
                        (above, 0)):
        assert top_predictions(
            np.array([best, 0], np.float32), LABELS, 1, 0.0, rule)[0].index == index


def test_by_entropy_the_other_classes_count_too():
    # Both best scores are 0.5; e^-H is 1 / 2 for two equal classes, and less for more of them.
    two, three = np.array([0.5, 0.5, 0], np.float32), np.array([0.5, 0.25, 0.25], np.float32)
    assert sureness(two) == pytest.approx(1 / 2)
    assert sureness(three) == pytest.approx(2**-1.5)
    assert sureness(np.full(8, 1 / 8, np.float32)) == pytest.approx(1 / 8)
    assert sureness(np.array([1, 0], np.float32)) == 1
    rule = UnknownRule(0.4, 'unknown', 'entropy')
    assert [one.index for one in top_predictions(two, LABELS, 1, 0.0, rule)] == [0]
    assert top_predictions(three, LABELS, 1, 0.0, rule) == [
        Prediction(UNKNOWN_INDEX, 'unknown', 0.5)]
    assert not UnknownRule(0, 'unknown', 'entropy').applies(three)
    assert not UnknownRule(1, 'unknown', 'entropy').applies(np.array([1, 0], np.float32))


def test_another_criterion_is_refused():
    with pytest.raises(UsageError, match="unknown_criterion 'margin': choose one of score, entr"):
        UnknownRule(0.5, 'unknown', 'margin')


@pytest.mark.parametrize(('below', 'label', 'cause'), [
    (-0.1, 'x', 'unknown_below is -0.1: choose 0 to 1'), (1.1, 'x', 'unknown_below is 1.1'),
    (float('nan'), 'x', 'unknown_below is nan'), (float('inf'), 'x', 'unknown_below is inf'),
    (0.5, '', "unknown_label is '': choose printable characters"),
    (0.5, 'a\0', r"unknown_label is 'a\\x00'"), (0.5, '\udce4', r"unknown_label is '\\udce4'")])
def test_a_rule_that_cannot_be_used_is_refused(below, label, cause):
    with pytest.raises(UsageError, match=cause):
        UnknownRule(below, label)


@pytest.mark.parametrize('top_k', [0, -1])
def test_no_classes_at_all_are_refused(top_k):
    with pytest.raises(UsageError, match=f'top_k is {top_k}'):
        top_predictions(np.array([1], np.float32), LABELS, top_k)


@pytest.fixture
def backend():
    """Return a backend that takes two frames at a time and no time."""
    with SimulatedBackend('', SimulatedOptions(
            max_batch_size=2, num_buffers=1, simulated_ms=0)) as opened:
        yield opened


def test_batches_are_full_but_the_last_and_rows_outlive_them(backend):
    sizes, submit, collect = [], backend.submit, backend.collect

    def counted(batch_size, index):
        sizes.append(batch_size)
        submit(batch_size, index)

    def shared(index):
        # As backends do whose result is a buffer of their own.
        rows = collect(index)
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

    def spoiled(index):
        rows = collect(index).copy()
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
