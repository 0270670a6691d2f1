"""The temperature: exact where it can be worked out, and found again where it is known."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
import numpy as np
import pytest

from resnet_trt_node.errors import DataError
from resnet_trt_node.evaluation.outcomes import OutcomeCollector
from resnet_trt_node.evaluation.reliability import Calibration, measure_calibration
from resnet_trt_node.evaluation.temperature import fit_temperature, with_temperature


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return float32 probabilities."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def calibration(rows: np.ndarray, targets: np.ndarray) -> Calibration:
    """Return how far the rows can be believed."""
    collector = OutcomeCollector()
    for row, target in zip(rows, targets):
        collector.add(row, int(target))
    return measure_calibration(collector.outcomes())


def world(true_temperature: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Return a model's rows, and classes drawn as its logits over a temperature say."""
    random = np.random.default_rng(7)
    logits = random.normal(0, 4, (count, 10))
    chances = softmax(logits / true_temperature).astype(np.float64)
    drawn = random.random((count, 1)) * chances.sum(axis=1, keepdims=True)
    return softmax(logits), (chances.cumsum(axis=1) < drawn).sum(axis=1)


def test_by_hand() -> None:
    # Sure to 9:1, right 3 of 4 times: ln 9 / T = ln 3.
    rows = np.array([(0.9, 0.1), (0.9, 0.1), (0.1, 0.9), (0.1, 0.9)], np.float32)
    targets = np.array([0, 0, 1, 0])
    assert fit_temperature(rows, targets) == pytest.approx(2, abs=1e-6)
    np.testing.assert_allclose(
        with_temperature(rows, 2)[[0, 2]], [(0.75, 0.25), (0.25, 0.75)], atol=1e-6)


@pytest.mark.parametrize('temperature', [0.5, 1.0, 1.7, 3.0])
def test_a_known_temperature_is_found_and_the_error_falls(temperature: float) -> None:
    rows, targets = world(temperature)
    found = fit_temperature(rows, targets)
    assert found == pytest.approx(temperature, rel=0.02)
    before = calibration(rows, targets)
    after = calibration(with_temperature(rows, found), targets)
    assert after.nll <= before.nll
    assert after.expected_error < 0.01
    if temperature != 1:
        assert before.expected_error > 4 * after.expected_error


def test_a_calibrated_model_needs_none() -> None:
    rows, targets = world(2)
    scaled = with_temperature(rows, fit_temperature(rows, targets))
    assert fit_temperature(scaled, targets) == pytest.approx(1, abs=1e-4)


def test_no_other_temperature_is_likelier() -> None:
    rows, targets = world(1.7, 500)
    found = fit_temperature(rows, targets)
    least = calibration(with_temperature(rows, found), targets).nll
    for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2):
        assert calibration(with_temperature(rows, factor * found), targets).nll > least


def test_more_rows_than_fit_into_a_part_count_all() -> None:
    rows = np.array([(0.9, 0.1)] * 3000, np.float32)
    targets = np.array([0] * 2250 + [1] * 750)
    assert fit_temperature(rows, targets) == pytest.approx(2, abs=1e-6)
    assert with_temperature(rows, 2).shape == (3000, 2)


def test_a_probability_of_0_counts_as_the_smallest() -> None:
    rows = np.array([(1, 0)] * 3 + [(0, 1)], np.float32)
    least = -math.log(np.finfo(np.float32).tiny)
    assert fit_temperature(rows, np.zeros(4, np.int64)) == pytest.approx(least / math.log(3))
    np.testing.assert_allclose(
        with_temperature(rows, 20)[0, 1], 1 / (1 + math.exp(least / 20)), rtol=1e-6)


def test_pictures_that_are_all_right_fit_none() -> None:
    with pytest.raises(DataError, match='the surer the model the better: take more pictures'):
        fit_temperature(np.array([(0.9, 0.1)] * 4, np.float32), np.zeros(4, np.int64))


def test_answers_that_are_guesses_fit_none() -> None:
    with pytest.raises(DataError, match='hardly better than guesses; check the classes'):
        fit_temperature(np.array([(0.9, 0.1)] * 4, np.float32), np.array([0, 1, 0, 1]))


@settings(deadline=None)
@given(logits=arrays(np.float64, (5, 4), elements=st.integers(-100, 100).map(lambda x: x / 8)),
       temperature=st.floats(0.05, 20))
def test_no_answer_changes_and_rows_sum_to_1(logits, temperature) -> None:
    rows = softmax(logits)
    scaled = with_temperature(rows, temperature)
    np.testing.assert_allclose(scaled.sum(axis=1), 1, atol=1e-6)
    # Where float32 tells the two best apart at all.
    np.testing.assert_array_equal(scaled.argmax(axis=1), rows.argmax(axis=1))


@settings(deadline=None)
@given(logits=arrays(np.float64, (3, 4), elements=st.floats(-8, 8)))
def test_a_temperature_of_1_changes_nothing(logits) -> None:
    np.testing.assert_allclose(with_temperature(softmax(logits), 1), softmax(logits), atol=1e-7)
