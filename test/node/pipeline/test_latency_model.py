"""When an answer is to be expected: arithmetic on durations, without threads or clocks."""

from __future__ import annotations

import pytest
from resnet_trt_node.node.pipeline.latency_model import Estimate, Pace

MS = 1_000_000


@pytest.fixture
def pace():
    """Return a backend of exactly 40 ms whose running batch began at 0."""
    pace = Pace()
    pace.restart(40.0, 3)
    pace.began(0)
    return pace


def test_estimate_as_of_rfc_6298():
    estimate = Estimate(10.0)
    estimate.add(18.0)
    assert (estimate.mean_ms, estimate.deviation_ms) == (11.0, 2.0)
    assert estimate.most_ms == 15.0
    estimate.decay()
    assert estimate.most_ms == pytest.approx(13.5)


@pytest.mark.parametrize(('ahead', 'now_ms', 'answered_ms'), [
    (0, 10, 40.0), (1, 0, 80.0), (1, 10, 70.0), (2, 10, 110.0),
    # The running batch takes longer than expected: it may end at any moment.
    (1, 90, 40.0), (2, 90, 80.0)])
def test_batches_ahead_count(pace, ahead, now_ms, answered_ms):
    now_ns = now_ms * MS
    assert not pace.too_late(0.0, ahead, answered_ms + 0.01, now_ns)
    assert not pace.hopeless(5.0, ahead, answered_ms + 5.01, now_ns)
    assert pace.hopeless(5.0, ahead, answered_ms + 4.99, now_ns)
    assert pace.too_late(0.0, ahead, answered_ms - 0.01, now_ns)


def test_without_a_limit_nothing_is_late_or_early(pace):
    assert not pace.too_late(1e6, 2, 0.0, 0)
    assert not pace.hopeless(1e6, 2, 0.0, 0)
    assert pace.early_ms(2, 0.0, 0) == 0.0


def test_publication_and_jitter_are_allowed_for(pace):
    for _ in range(200):
        pace.published(2.0)
    # With a batch ahead, so that a refusal does not lower the estimate.
    assert not pace.too_late(0.0, 1, 82.1, 0)
    assert pace.too_late(0.0, 1, 81.9, 0)
    pace.inferred(48.0)  # mean 41, deviation 2: the own batch is taken to last up to 45
    assert not pace.too_late(0.0, 1, 88.1, 0)
    assert pace.too_late(0.0, 1, 87.9, 0)


@pytest.mark.parametrize(('ahead', 'max_age_ms', 'early_ms'), [
    # Plenty of time: ready when the batch ahead begins, of two that is in 40 ms.
    (1, 1000.0, 0.0), (2, 1000.0, 40.0),
    # 40 for the inference, 40 for the age at which it is taken, 20 to wait for the backend.
    (1, 100.0, 20.0), (2, 100.0, 60.0),
    # No time to wait at all, and an idle backend.
    (1, 60.0, 40.0), (0, 60.0, 0.0)])
def test_batches_are_begun_late_enough(pace, ahead, max_age_ms, early_ms):
    assert pace.early_ms(ahead, max_age_ms, 0) == pytest.approx(early_ms)


def test_filling_gets_its_time(pace):
    for _ in range(200):
        pace.fitted(2.0)
    # Twice what three frames of 2 ms take.
    assert pace.early_ms(1, 60.0, 0) == pytest.approx(28.0, abs=0.1)


def test_an_estimate_alone_does_not_drop_frames_for_ever(pace):
    late = 0
    while pace.too_late(0.0, 0, 20.0, 0):
        late += 1
    assert late == 7  # 40 * 0.9**7 is 19.1
    # With a batch ahead, its end will tell.
    assert all(pace.too_late(0.0, 1, 20.0, 0) for _ in range(100))
