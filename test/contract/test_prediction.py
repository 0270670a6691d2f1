"""The most probable classes, in their order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from resnet_trt_node.contract.prediction import top_predictions, UnknownRule


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 32))
def test_scores_fall_and_of_equal_ones_the_lower_index_comes_first(fifths, top_k):
    scores = np.array(fifths, np.float32) / 5
    labels = tuple(f'class {index}' for index in range(len(fifths)))
    found = top_predictions(scores, labels, top_k)
    expected = sorted(range(len(fifths)), key=lambda index: (-fifths[index], index))[:top_k]
    assert [one.index for one in found] == expected
    assert [one.label for one in found] == [labels[index] for index in expected]
    assert [one.score for one in found] == [float(scores[index]) for index in expected]
    assert (scores == np.array(fifths, np.float32) / 5).all()


def test_every_class_of_a_multi_label_model_above_the_threshold_is_named():
    scores = np.array([0.5, 0.9, 0.49, 0.7, 0.1], np.float32)
    for threshold, expected in (
            (0.0, [1, 3, 0]), (0.5, [1, 3, 0]), (0.7, [1, 3]), (0.05, [1, 3, 0, 2, 4]), (1, [])):
        found = top_predictions(scores, 'abcde', 1, threshold, multi_label=True)
        assert [one.index for one in found] == expected
        assert [one.index for one in top_predictions(scores, 'abcde', 1, threshold)] == (
            [] if threshold == 1 else [1])


def test_the_best_score_says_that_a_multi_label_model_knows_nothing():
    for criterion in ('score', 'entropy'):
        rule = UnknownRule(0.6, 'unknown', criterion)
        for scores, expected in (([0.9, 0.9], ['a', 'b']), ([0.55, 0.1], ['unknown'])):
            found = top_predictions(
                np.array(scores, np.float32), 'ab', 1, unknown=rule, multi_label=True)
            assert [one.label for one in found] == expected
