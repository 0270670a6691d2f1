"""Two classifiers on the same pictures: counts by hand, p-values that are known."""

from __future__ import annotations

import math
from time import perf_counter

import numpy as np
import pytest

from resnet_trt_node.errors import DataError
from resnet_trt_node.evaluation.agreement import Agreement, AgreementCollector, mcnemar_exact


def row(*scores: float) -> np.ndarray:
    """Return one picture's probabilities."""
    return np.array(scores, np.float32)


def test_counts_and_distances_by_hand():
    collector = AgreementCollector()
    collector.add(row(0.75, 0.25), row(0.5, 0.5), 0)     # equal scores: the lower class, right
    collector.add(row(0.75, 0.25), row(0.25, 0.75), 0)   # only the first right
    collector.add(row(0.25, 0.75), row(0.75, 0.25), 0)   # only the second right
    collector.add(row(0.25, 0.75), row(0.25, 0.75), 0)   # both wrong, the same answer
    found = collector.agreement()
    assert (found.count, found.same) == (4, 2)
    assert (found.both_right, found.only_first, found.only_second, found.both_wrong) \
        == (1, 1, 1, 1)
    assert found.accuracy_difference == 0
    assert found.mean_difference == pytest.approx((0.25 + 0.5 + 0.5 + 0) / 4)
    assert found.max_difference == 0.5
    first = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    crossed = 0.75 * math.log(3) + 0.25 * math.log(1 / 3)
    assert found.mean_kl == pytest.approx((first + 2 * crossed) / 4)
    assert found.max_kl == pytest.approx(crossed)
    assert found.mcnemar() == 1.0


def test_the_better_one_is_not_mistaken_for_the_other():
    collector = AgreementCollector()
    for target in (0, 0, 1):
        collector.add(row(0.75, 0.25), row(0.25, 0.75), target)
    found = collector.agreement()
    assert (found.only_first, found.only_second, found.both_right) == (2, 1, 0)
    assert found.accuracy_difference == pytest.approx(-1 / 3)


def test_a_rounding_error_is_no_negative_distance():
    collector = AgreementCollector()
    collector.add(row(0.5, 0.5), row(0.5000001, 0.5000001), 0)
    found = collector.agreement()
    assert found.mean_kl == found.max_kl == 0


def test_different_wrong_answers_are_no_agreement():
    collector = AgreementCollector()
    collector.add(row(0.8, 0.1, 0.1), row(0.1, 0.8, 0.1), 2)
    found = collector.agreement()
    assert (found.same, found.both_wrong) == (0, 1)


def test_underflowed_probabilities_stay_finite():
    collector = AgreementCollector()
    collector.add(row(1, 0), row(0, 1), 0)
    assert collector.agreement().max_kl == pytest.approx(-math.log(np.finfo(np.float32).tiny))


@pytest.mark.parametrize(('only_first', 'only_second', 'expected'), [
    (0, 0, 1.0), (3, 3, 1.0), (0, 5, 2 / 32), (5, 0, 2 / 32),
    (10, 2, 2 * (1 + 12 + 66) / 4096),
    # From SciPy: binomtest(59, 180).pvalue.
    (121, 59, 4.43444926375516e-06)])
def test_p_values_are_mcnemars(only_first, only_second, expected):
    assert mcnemar_exact(only_first, only_second) == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_p_values_are_those_of_the_binomial_test():
    stats = pytest.importorskip('scipy.stats', reason='SciPy, the reference, is not installed')
    rng = np.random.default_rng(3)
    for first, second in rng.integers(0, 400, (40, 2)).tolist():
        if first + second:
            reference = stats.binomtest(first, first + second, 0.5).pvalue
            assert mcnemar_exact(first, second) == pytest.approx(reference, rel=1e-9, abs=1e-300)


def test_many_pictures_take_no_long_time():
    start = perf_counter()
    assert 0 < mcnemar_exact(10_200, 9_800) < 0.01
    assert perf_counter() - start < 60


def test_the_interval_of_the_difference_is_agresti_and_mins():
    # 1600 pictures, 86 that only the first has right and 150 that only the second has.
    found = Agreement(1600, 1364, 794, 86, 150, 0, 0, 0, 0)
    half = 1.959964 * math.sqrt(237 - 64 ** 2 / 1602) / 1602
    assert found.difference_interval() == pytest.approx((64 / 1602 - half, 64 / 1602 + half))
    assert found.accuracy_difference == 64 / 1600
    low, high = Agreement(10, 10, 10, 0, 0, 0, 0, 0, 0).difference_interval()
    assert low == -high
    assert 0 < high < 0.2
    assert Agreement(1, 0, 0, 0, 1, 0, 0, 0, 0).difference_interval()[1] == 1
    assert Agreement(1, 0, 0, 1, 0, 0, 0, 0, 0).difference_interval()[0] == -1


def test_the_agreement_on_nothing_is_refused():
    with pytest.raises(DataError, match='agreement on nothing'):
        AgreementCollector().agreement()
