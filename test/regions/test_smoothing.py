"""Smoothing: exact examples, its delay in frames, and what holds for any answers."""

from __future__ import annotations

from collections import Counter
import math

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
import numpy as np
import pytest

from resnet_trt_node.regions import smoothing
from resnet_trt_node.regions.smoothing import Ema, Majority, make_smoother, MAX_WINDOW

#: Rows of four classes, before they are divided by their sum; few values give many ties.
WEIGHTS = arrays(np.float32, 4, elements=st.sampled_from([0.125, 0.25, 0.5, 1.0]) | st.floats(
    0.0009765625, 1, width=32))
WINDOWS = st.integers(1, 7)


def row(*values: float) -> np.ndarray:
    """Return probabilities."""
    return np.array(values, np.float32)


def distribution(weights: np.ndarray) -> np.ndarray:
    """Return a row that sums to 1."""
    return weights / weights.sum()


def inferences_until_change(kind: str, window: int) -> int:
    """Return with which inference of a new class the answer changes, after many of another."""
    smoother = make_smoother(kind, window)
    assert smoother is not None
    for _ in range(2 * MAX_WINDOW):
        # The old class has the lower index, which wins a tie.
        assert smoother.add(row(1, 0)).argmax() == 0
    for count in range(1, 2 * MAX_WINDOW):
        if smoother.add(row(0, 1)).argmax() == 1:
            return count
    raise AssertionError('the answer never changed')


def test_ema_by_hand() -> None:
    ema = Ema(3)
    np.testing.assert_array_equal(ema.add(row(1, 0)), row(1, 0))
    np.testing.assert_array_equal(ema.add(row(0, 1)), row(0.5, 0.5))
    np.testing.assert_array_equal(ema.add(row(0.5, 0.5)), row(0.5, 0.5))
    np.testing.assert_array_equal(ema.add(row(0, 1)), row(0.25, 0.75))


def test_majority_by_hand() -> None:
    majority = Majority(3)
    np.testing.assert_array_equal(majority.add(row(0.75, 0.25, 0)), row(0.75, 0.25, 0))
    # One each: the newest wins, with its own scores.
    np.testing.assert_array_equal(majority.add(row(0.25, 0.5, 0.25)), row(0.25, 0.5, 0.25))
    # Twice class 0: their mean.
    np.testing.assert_array_equal(majority.add(row(0.5, 0, 0.5)), row(0.625, 0.125, 0.25))
    # The first is out of the window; three each: the newest wins.
    np.testing.assert_array_equal(majority.add(row(0, 0, 1)), row(0, 0, 1))
    np.testing.assert_array_equal(majority.add(row(0, 0.25, 0.75)), row(0, 0.125, 0.875))


def test_majority_of_equal_counts_is_the_newest_class() -> None:
    majority = Majority(4)
    for one in (row(1, 0), row(0.75, 0.25), row(0, 1)):
        majority.add(one)
    np.testing.assert_array_equal(majority.add(row(0.25, 0.75)), row(0.125, 0.875))


def test_a_lead_below_the_resolution_of_float32_wins_nevertheless() -> None:
    # Class 1 leads in both rows by their last bit; both means are 0.5 + 2 bits in float32.
    bit = 2.0**-24
    rows = [row(0.75 + 3 * bit, 0.75 + 4 * bit), row(0.25 + bit / 2, 0.25 + bit)]
    assert np.mean(rows, axis=0, dtype=np.float64).astype(np.float32).argmax() == 0
    majority = Majority(2)
    majority.add(rows[0])
    np.testing.assert_array_equal(
        majority.add(rows[1]), row(0.5 + 2 * bit, 0.5 + 3 * bit))


@pytest.mark.parametrize(('window', 'ema', 'majority'), [
    (1, 1, 1), (3, 2, 2), (5, 2, 3), (9, 4, 5), (15, 6, 8), (30, 11, 15)])
def test_the_delay_is_the_documented_one(window: int, ema: int, majority: int) -> None:
    assert inferences_until_change('ema', window) == ema
    assert inferences_until_change('majority', window) == majority
    assert f'{window:<8}{ema:<5}{majority}\n' in (smoothing.__doc__ or '')


@pytest.mark.parametrize('window', range(1, MAX_WINDOW + 1))
def test_the_delay_follows_the_documented_formulas(window: int) -> None:
    assert inferences_until_change('majority', window) == math.ceil(window / 2)
    k = next(k for k in range(1, 99) if ((window - 1) / (window + 1)) ** k < 0.5)
    assert inferences_until_change('ema', window) == k


@pytest.mark.parametrize('kind', ['ema', 'majority'])
def test_one_other_answer_does_not_change_the_label(kind: str) -> None:
    smoother = make_smoother(kind, 5)
    assert smoother is not None
    found = [int(smoother.add(row(1 - best, best)).argmax()) for best in (0, 0, 0, 1, 0, 0)]
    assert found == [0] * 6


def test_none_has_no_smoother() -> None:
    assert make_smoother('none', 5) is None


@settings(deadline=None)
@given(rows=st.lists(WEIGHTS, min_size=1, max_size=12), window=WINDOWS,
       kind=st.sampled_from(['ema', 'majority']))
def test_rows_stay_distributions_and_the_input_stays_as_it_was(rows, window, kind) -> None:
    smoother = make_smoother(kind, window)
    assert smoother is not None
    for one in map(distribution, rows):
        given_row = one.copy()
        got = smoother.add(given_row)
        assert got.dtype == np.float32
        assert got.shape == (4,)
        assert got.sum() == pytest.approx(1, abs=1e-6)
        assert (got >= 0).all()
        assert (got <= 1 + 1e-6).all()
        np.testing.assert_array_equal(given_row, one)
        # What the caller does with the row afterwards does not matter.
        given_row[:] = np.nan


@settings(deadline=None)
@given(rows=st.lists(WEIGHTS, min_size=1, max_size=12), window=WINDOWS)
def test_the_majority_has_the_highest_score(rows, window) -> None:
    majority = Majority(window)
    classes: list[int] = []
    for one in map(distribution, rows):
        got = majority.add(one)
        classes = [*classes, int(one.argmax())][-window:]
        counts = Counter(classes)
        most = max(counts.values())
        winner = next(one for one in reversed(classes) if counts[one] == most)
        assert int(got.argmax()) == winner


@settings(deadline=None)
@given(one=WEIGHTS, count=st.integers(1, 9), window=WINDOWS,
       kind=st.sampled_from(['ema', 'majority']))
def test_a_still_answer_stays(one, count, window, kind) -> None:
    smoother = make_smoother(kind, window)
    assert smoother is not None
    for _ in range(count):
        got = smoother.add(distribution(one))
    np.testing.assert_allclose(got, distribution(one), rtol=1e-6)


@settings(deadline=None)
@given(rows=st.lists(WEIGHTS, min_size=1, max_size=9), kind=st.sampled_from(['ema', 'majority']))
def test_a_window_of_one_changes_nothing(rows, kind) -> None:
    smoother = make_smoother(kind, 1)
    assert smoother is not None
    for one in rows:
        np.testing.assert_array_equal(smoother.add(one), one)
