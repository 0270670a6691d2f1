"""Calibration against gaps worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from resnet_trt_node.errors import DataError
from resnet_trt_node.evaluation.outcomes import OutcomeCollector, Outcomes
from resnet_trt_node.evaluation.reliability import measure_calibration


def outcomes_of(rows, targets) -> Outcomes:
    """Return the outcomes of rows of probabilities."""
    collector = OutcomeCollector()
    for row, target in zip(rows, targets):
        collector.add(np.array(row, np.float32), target)
    return collector.outcomes()


@pytest.fixture
def outcomes():
    """Return five answers: confidences 0.9 right, 0.9 wrong, 0.7 right twice, 0.55 wrong."""
    return outcomes_of(
        [(0.9, 0.1), (0.9, 0.1), (0.3, 0.7), (0.3, 0.7), (0.45, 0.55)], [0, 1, 1, 1, 0])


def test_errors_by_hand(outcomes):
    # Five bins: (0.4, 0.6] sure 0.55 right 0; (0.6, 0.8] 0.7 and 1; (0.8, 1] 0.9 and 1/2.
    found = measure_calibration(outcomes, bins=5)
    assert found.counts.tolist() == [0, 0, 1, 2, 2]
    np.testing.assert_allclose(found.confidences, [np.nan, np.nan, 0.55, 0.7, 0.9], atol=1e-6)
    np.testing.assert_allclose(found.accuracies, [np.nan, np.nan, 0, 1, 0.5])
    assert found.expected_error == pytest.approx((0.55 + 2 * 0.3 + 2 * 0.4) / 5, abs=1e-6)
    assert found.maximum_error == pytest.approx(0.55, abs=1e-6)
    assert found.mean_confidence == pytest.approx((0.9 + 0.9 + 0.7 + 0.7 + 0.55) / 5, abs=1e-6)


def test_one_bin_compares_the_means(outcomes):
    found = measure_calibration(outcomes, bins=1)
    assert found.expected_error == found.maximum_error == pytest.approx(0.75 - 0.6, abs=1e-6)


def test_proper_scores_by_hand(outcomes):
    found = measure_calibration(outcomes)
    right = [0.9, 0.1, 0.7, 0.7, 0.45]
    assert found.nll == pytest.approx(-sum(math.log(p) for p in right) / 5, abs=1e-6)
    # With two classes both differ from the right answer by 1 - p.
    assert found.brier == pytest.approx(sum(2 * (1 - p) ** 2 for p in right) / 5, abs=1e-6)


def test_an_edge_belongs_to_the_bin_below_it():
    levels = [0.25, 0.5, 0.75, 1.0]
    outcomes = Outcomes(
        *(np.zeros(4, np.int64),) * 2, np.array(levels, np.float32), np.zeros(4, np.int64),
        np.array(levels, np.float32), np.zeros(4))
    assert measure_calibration(outcomes, bins=4).counts.tolist() == [1, 1, 1, 1]
    # Tenths are none in binary; as float32 they still lie on the edges.
    tenths = np.arange(1, 11, dtype=np.float32) / np.float32(10)
    outcomes = Outcomes(
        *(np.zeros(10, np.int64),) * 2, tenths, np.zeros(10, np.int64), tenths, np.zeros(10))
    assert measure_calibration(outcomes, bins=10).counts.tolist() == [1] * 10


@pytest.mark.slow
def test_believable_probabilities_have_no_error():
    rng = np.random.default_rng(7)
    confidence = rng.uniform(0.5, 1, 40_000)
    wrong = rng.random(40_000) > confidence
    rows = np.stack([confidence, 1 - confidence], axis=1)
    found = measure_calibration(outcomes_of(rows, wrong.astype(int).tolist()))
    assert found.expected_error < 0.01
    sure = measure_calibration(outcomes_of(np.tile([0.999, 0.001], (40_000, 1)),
                                           wrong.astype(int).tolist()))
    assert sure.expected_error == pytest.approx(0.249, abs=0.01)


@pytest.mark.filterwarnings('error')
def test_probabilities_at_the_ends_stay_numbers():
    # float32 softmax underflows to 0, and a sum may end a rounding error above 1.
    found = measure_calibration(outcomes_of([(1.0000001, 0.0)], [1]))
    assert found.nll == pytest.approx(-math.log(np.finfo(np.float32).tiny))
    assert found.mean_confidence == 1.0
    assert found.counts.tolist() == [0] * 14 + [1]
    assert found.brier == pytest.approx(2.0, abs=1e-6)


def test_the_calibration_of_nothing_is_refused():
    with pytest.raises(DataError, match='no labelled pictures'):
        measure_calibration(OutcomeCollector().outcomes())
