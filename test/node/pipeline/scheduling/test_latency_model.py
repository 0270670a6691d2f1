"""When an answer is to be expected: arithmetic on durations, without threads or clocks."""

from __future__ import annotations

from math import inf

import pytest
from resnet_trt_node.node.pipeline.scheduling.latency_model import Estimate, LatencyModel

MS = 1_000_000


@pytest.fixture
def model():
    """Return the model of a backend of exactly 40 ms whose running batch began at 0."""
    model = LatencyModel()
    model.restart(40.0, 3)
    return model


def test_estimate_as_of_rfc_6298():
    estimate = Estimate(10.0)
    estimate.add(18.0)
    assert (estimate.mean_ms, estimate.deviation_ms) == (11.0, 2.0)
    assert estimate.most_ms == 15.0


@pytest.mark.parametrize(('ahead', 'now_ms', 'answered_ms'), [
    (0, 10, 40.0), (1, 0, 80.0), (1, 10, 70.0), (2, 10, 110.0),
    # The running batch takes longer than expected: it may end at any moment.
    (1, 90, 40.0), (2, 90, 80.0)])
def test_batches_ahead_count(model, ahead, now_ms, answered_ms):
    assert model.answer_in_ms(ahead, now_ms * MS) == answered_ms
    assert model.infer_in_ms(ahead, now_ms * MS) == answered_ms


def test_publication_and_jitter_are_allowed_for(model):
    for _ in range(200):
        model.publish.add(2.0)
    assert model.answer_in_ms(1, 0) == pytest.approx(82.0, abs=0.1)
    model.infer.add(48.0)  # mean 41, deviation 2: the own batch is taken to last up to 45
    assert model.answer_in_ms(1, 0) == pytest.approx(88.0, abs=0.1)
    # Work that is done already is thrown away only if nothing goes well.
    assert model.infer_in_ms(1, 0) == pytest.approx(82.0, abs=0.1)


@pytest.mark.parametrize(('ahead', 'max_age_ms', 'deferral_ms'), [
    # Plenty of time: ready when the batch ahead begins, of two that is in 40 ms.
    (1, 1000.0, 0.0), (2, 1000.0, 40.0),
    # 40 for the inference, 40 for the age at which it is taken, 20 to wait for the backend.
    (1, 100.0, 20.0), (2, 100.0, 60.0),
    # No time to wait at all, an idle backend, no deadline.
    (1, 60.0, 40.0), (0, 60.0, 0.0), (2, inf, 0.0)])
def test_batches_are_begun_late_enough(model, ahead, max_age_ms, deferral_ms):
    assert model.deferral_ms(ahead, max_age_ms, 0) == pytest.approx(deferral_ms)


def test_filling_gets_its_time(model):
    for _ in range(200):
        model.preprocess.add(2.0)
    # Twice what three frames of 2 ms take.
    assert model.deferral_ms(1, 60.0, 0) == pytest.approx(28.0, abs=0.1)


def test_expectations_decay(model):
    for _ in range(7):
        model.decay()
    assert model.answer_in_ms(0, 0) == pytest.approx(40 * 0.9**7)
