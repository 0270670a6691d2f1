"""Accuracy figures against ones counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from resnet_trt_node.contract.prediction import top_predictions
from resnet_trt_node.errors import DataError
from resnet_trt_node.evaluation.outcomes import OutcomeCollector, wilson_interval


def row(*scores: float) -> np.ndarray:
    """Return one picture's probabilities."""
    return np.array(scores, np.float32)


def test_top_k_counts_by_hand():
    collector = OutcomeCollector()
    assert collector.add(row(0.7, 0.1, 0.1, 0.1), 0) is True
    assert collector.add(row(0.6, 0.3, 0.1, 0.0), 1) is False
    assert collector.add(row(0.4, 0.3, 0.2, 0.1), 3) is False
    outcomes = collector.outcomes()
    assert len(outcomes) == 3
    assert [outcomes.hits(k) for k in (1, 2, 3, 4)] == [1, 2, 2, 3]
    assert outcomes.accuracy() == pytest.approx(1 / 3)
    assert outcomes.accuracy(5) == 1.0
    np.testing.assert_array_equal(outcomes.targets, [0, 1, 3])
    np.testing.assert_array_equal(outcomes.predicted, [0, 0, 0])
    np.testing.assert_array_equal(outcomes.ranks, [0, 1, 3])
    np.testing.assert_allclose(outcomes.confidences, [0.7, 0.6, 0.4], rtol=1e-6)


def test_ranks_are_places_among_the_top_predictions():
    rng = np.random.default_rng(5)
    # Few distinct values, so that many scores are equal.
    table = rng.integers(0, 4, (50, 10)).astype(np.float32)
    targets = rng.integers(0, 10, 50)
    collector = OutcomeCollector()
    for scores, target in zip(table, targets):
        collector.add(scores, int(target))
    labels = [str(i) for i in range(10)]
    expected = [
        [prediction.index for prediction in top_predictions(scores, labels, 10)].index(target)
        for scores, target in zip(table, targets)]
    np.testing.assert_array_equal(collector.outcomes().ranks, expected)


def test_the_accuracy_of_nothing_is_refused():
    with pytest.raises(DataError, match='no labelled'):
        OutcomeCollector().outcomes().accuracy()


@pytest.mark.parametrize(('hits', 'count', 'low', 'high'), [
    # 0 of n: the upper bound is z^2 / (n + z^2).
    (0, 10, 0.0, 0.277533), (10, 10, 0.722467, 1.0), (50, 100, 0.403832, 0.596168)])
def test_confidence_bounds_are_wilsons(hits, count, low, high):
    assert wilson_interval(hits, count) == (
        pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))


def test_confidence_bounds_are_shares_whatever_is_rounded():
    for count in range(1, 100):
        assert 0 <= wilson_interval(0, count)[0] <= wilson_interval(count, count)[1] <= 1


def test_squared_errors_add_up_in_double_precision():
    collector = OutcomeCollector()
    scores = np.random.default_rng(3).dirichlet(np.ones(1000)).astype(np.float32)
    collector.add(scores, 7)
    exact = sum((float(score) - (place == 7)) ** 2 for place, score in enumerate(scores))
    assert collector.outcomes().squared_errors[0] == pytest.approx(exact, rel=1e-12)
